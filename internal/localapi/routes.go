package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

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
		"GET /jobs": s.jobs, "GET /jobs/{id}": s.job, "GET /jobs/{id}/files/{n}": s.file,
		"POST /login": s.login, "POST /logout": s.logout,
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

// runSync answers when the job has ended. Before that it answers how the job
// stands, when the client's time is over or the server stops.
func (s *Server) runSync(w http.ResponseWriter, r *http.Request) {
	wait, err := waitOf(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	id := "sync-" + uuid.NewString() + idSuffix
	final, err := s.submit(r, id, true)
	if err != nil {
		s.refuse(w, err)
		return
	}
	defer s.store.unawaited(id)
	if s.await(r, final, wait) != nil {
		return // the client is gone, the job goes on
	}
	s.sendSync(w, id)
}

// await returns when final is closed, when wait is over, or when the server
// stops. The error is that of a client that is gone.
func (s *Server) await(r *http.Request, final <-chan struct{}, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-final:
	case <-timer.C:
	case <-s.closing:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	return nil
}

// sendSync answers who has waited for a job.
func (s *Server) sendSync(w http.ResponseWriter, id string) {
	v, err := s.store.view(id)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if v.state == inProgress {
		v.output = nil // progress here would pass for the result
	}
	code := http.StatusOK
	if v.state == failed && !v.ran {
		code = http.StatusServiceUnavailable
	}
	s.sendJob(w, code, v)
}

// statusSync answers when the job that is asked for has ended, as runSync does.
func (s *Server) statusSync(w http.ResponseWriter, r *http.Request) {
	wait, err := waitOf(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	id := r.PathValue("id")
	final, err := s.store.final(id)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if s.await(r, final, wait) != nil {
		return
	}
	s.sendSync(w, id)
}

const (
	minWait     = time.Second
	defaultWait = 90 * time.Second
	maxWait     = 5 * time.Minute
)

func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return defaultWait, nil
	}
	ms, err := strconv.Atoi(text)
	wait := time.Duration(ms) * time.Millisecond
	if err != nil || wait < minWait || wait > maxWait {
		return 0, badRequest(fmt.Sprintf("wait is %q: it is %d to %d ms", text, minWait.Milliseconds(), maxWait.Milliseconds()))
	}
	return wait, nil
}

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

// tally counts jobs: the first two as they stand, the others since the start.
type tally struct {
	InProgress int `json:"inProgress"`
	InQueue    int `json:"inQueue"`
	Completed  int `json:"completed"`
	Failed     int `json:"failed"`
	Retried    int `json:"retried"`
}

// workers counts the workers by state, of which there is one.
type workers struct {
	Idle         int `json:"idle"`
	Initializing int `json:"initializing"`
	Ready        int `json:"ready"`
	Running      int `json:"running"`
	Throttled    int `json:"throttled"`
	Unhealthy    int `json:"unhealthy"`
}

var errRestart = errors.New("restart ComfyUI")

// restart asks for a new ComfyUI.
func (s *Server) restart(w http.ResponseWriter, r *http.Request) {
	text, err := s.readBody(r)
	defer s.store.inputs.Release(int64(len(text)))
	if err != nil {
		s.refuse(w, err)
		return
	}
	var sent struct {
		Force bool `json:"force"`
	}
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &sent); err != nil {
			s.refuse(w, badJSON(err))
			return
		}
	}
	told, err := s.cfg.Restart(sent.Force)
	if err != nil {
		s.refuse(w, fmt.Errorf("%w: %w", errRestart, err))
		return
	}
	s.send(w, http.StatusAccepted, struct {
		Status  string `json:"status"`
		Force   bool   `json:"force"`
		Message string `json:"message"`
	}{"restarting", sent.Force, told})
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	t := s.store.count()
	var n workers
	switch {
	case s.cfg.Ready() != nil:
		n.Initializing = 1
	case t.InProgress > 0:
		n.Ready, n.Running = 1, 1
	default:
		n.Ready, n.Idle = 1, 1
	}
	s.send(w, http.StatusOK, struct {
		Jobs    tally   `json:"jobs"`
		Workers workers `json:"workers"`
	}{t, n})
}

func (s *Server) ping(w http.ResponseWriter, _ *http.Request) {
	if s.cfg.Ready() != nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.send(w, http.StatusOK, map[string]string{"status": "ready"})
}
