package localapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/google/uuid"
)

// handler serves every route of RunPod at the root and as RunPod's clients know
// it, and ours at the root.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h http.Handler) {
		s.patterns = append(s.patterns, pattern)
		mux.Handle(pattern, h)
	}
	for _, root := range []string{"", "/v2/{endpoint}"} {
		for pattern, f := range s.jobRoutes() {
			method, path, _ := strings.Cut(pattern, " ")
			handle(method+" "+root+path, f)
		}
	}
	for pattern, f := range s.ownRoutes() {
		handle(pattern, f)
	}
	for _, path := range docPaths {
		handle("GET "+path, docsHandler())
	}
	if s.cfg.Restart != nil {
		handle("POST /restart", http.HandlerFunc(s.restart))
	}
	if s.cfg.Page != nil {
		handle("GET /{$}", s.cfg.Page)
		handle(pageFiles, s.cfg.Page)
	}
	return s.attend(s.open(s.guard(mux)))
}

// jobRoutes are RunPod's.
func (s *Server) jobRoutes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST /run": s.run, "POST /runsync": s.runSync,
		"GET /status/{id}": s.status, "POST /status/{id}": s.status,
		"GET /status-sync/{id}": s.statusSync, "POST /status-sync/{id}": s.statusSync,
		"GET /stream/{id}": s.stream, "POST /stream/{id}": s.stream,
		"POST /cancel/{id}": s.change(s.store.cancel), "POST /retry/{id}": s.change(s.store.retry),
		"POST /purge-queue": s.purge, "GET /health": s.health, "GET /ping": s.ping,
	}
}

// ownRoutes are for people and pages.
func (s *Server) ownRoutes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /jobs": s.jobs, "GET /jobs/{id}": s.job, "DELETE /jobs/{id}": s.change(s.store.cancel),
		"GET /jobs/{id}/files/{n}": s.file,
		"POST /login":              s.login, "POST /logout": s.logout,
	}
}

// pageFiles is where the files of Config.Page are.
const pageFiles = "/console/"

// open answers load balancers, who have no token and may name any host.
func (s *Server) open(guarded http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && s.cfg.HealthPath != "" && r.URL.Path == s.cfg.HealthPath {
			s.ping(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString() + idSuffix
	if _, err := s.submit(r, id, false); err != nil {
		s.refuse(w, err)
		return
	}
	s.store.journal.settle(r.Context())
	s.send(w, http.StatusOK, brief{id, inQueue})
}

// idSuffix ends the ids of RunPod, where it names the region.
const idSuffix = "-u1"

// submit queues the job that the request holds. The channel is closed when it
// has ended.
func (s *Server) submit(r *http.Request, id string, awaited bool) (<-chan struct{}, error) {
	if err := s.store.room(); err != nil {
		return nil, err
	}
	q, err := s.readRequest(r)
	if err != nil {
		return nil, err
	}
	return s.store.add(id, q, awaited)
}

// change answers with the job as change has left it.
func (s *Server) change(change func(id string) (view, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := change(r.PathValue("id"))
		if err != nil {
			s.refuse(w, err)
			return
		}
		s.store.journal.settle(r.Context())
		s.send(w, http.StatusOK, brief{v.id, v.state})
	}
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	v, err := s.store.view(r.PathValue("id"))
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.sendJob(w, http.StatusOK, v)
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	chunks, now, err := s.store.stream(r.PathValue("id"))
	if err != nil {
		s.refuse(w, err)
		return
	}
	type chunk struct {
		Output json.RawMessage `json:"output"`
	}
	answer := struct {
		Status state   `json:"status"`
		Stream []chunk `json:"stream"`
	}{now, make([]chunk, len(chunks))}
	for i, c := range chunks {
		answer.Stream[i] = chunk{c}
	}
	s.send(w, http.StatusOK, answer)
}

func (s *Server) purge(w http.ResponseWriter, r *http.Request) {
	removed := s.store.purge()
	s.store.journal.settle(r.Context())
	s.send(w, http.StatusOK, struct {
		Removed int    `json:"removed"`
		Status  string `json:"status"`
	}{removed, "completed"})
}
