package comfytest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A route answers the requests of one pattern.
type route func(c *Comfy, w http.ResponseWriter, r *http.Request)

// oldRoutes are those of every version, jobsRoutes and cancelRoutes those of the
// generations that have them.
var (
	oldRoutes = map[string]route{
		"GET /{$}":                       (*Comfy).getIndex,
		"GET /ws":                        (*Comfy).serveWS,
		"GET /prompt":                    (*Comfy).getPrompt,
		"POST /prompt":                   (*Comfy).postPrompt,
		"GET /queue":                     (*Comfy).getQueue,
		"POST /queue":                    (*Comfy).postQueue,
		"GET /history":                   (*Comfy).getHistory,
		"GET /history/{id}":              (*Comfy).getHistory,
		"POST /history":                  (*Comfy).postHistory,
		"POST /interrupt":                (*Comfy).postInterrupt,
		"POST /free":                     (*Comfy).postFree,
		"GET /system_stats":              (*Comfy).getSystemStats,
		"GET /features":                  (*Comfy).getFeatures,
		"GET /object_info":               (*Comfy).getObjectInfo,
		"GET /object_info/{class}":       (*Comfy).getObjectInfo,
		"GET /embeddings":                (*Comfy).getEmbeddings,
		"GET /models":                    (*Comfy).getModels,
		"GET /models/{folder}":           (*Comfy).getModelFolder,
		"GET /extensions":                func(c *Comfy, w http.ResponseWriter, _ *http.Request) { c.answer(w, http.StatusOK, []any{}) },
		"GET /view":                      (*Comfy).getView,
		"POST /upload/image":             (*Comfy).postUpload,
		"POST /upload/mask":              (*Comfy).postUpload,
		"GET /internal/logs":             (*Comfy).getLogs,
		"GET /internal/logs/raw":         (*Comfy).getRawLogs,
		"GET /internal/files/{kind}":     (*Comfy).getFiles,
		"GET /internal/folder_paths":     (*Comfy).getFolderPaths,
		"PATCH /internal/logs/subscribe": func(*Comfy, http.ResponseWriter, *http.Request) {},
		"POST /sim/faults":               (*Comfy).postFaults,
		"GET /sim/ledger":                (*Comfy).getLedger,
		"POST /v2/manager/reboot":        (*Comfy).reboot,
		"GET /manager/reboot":            (*Comfy).reboot,
	}
	jobsRoutes = map[string]route{
		"GET /api/jobs":      (*Comfy).getJobs,
		"GET /api/jobs/{id}": (*Comfy).getJob,
		"GET /api/assets":    (*Comfy).assetsDisabled,
		"GET /api/tags":      (*Comfy).assetsDisabled,
	}
	cancelRoutes = map[string]route{
		"POST /api/jobs/cancel":      (*Comfy).postCancelJobs,
		"POST /api/jobs/{id}/cancel": (*Comfy).postCancelJob,
	}
)

// The routes of a generation, which all its incarnations share.
var (
	routesBeforeJobs   = sync.OnceValue(func() http.Handler { return newRoutes(oldRoutes) })
	routesBeforeCancel = sync.OnceValue(func() http.Handler { return newRoutes(oldRoutes, jobsRoutes) })
	allRoutes          = sync.OnceValue(func() http.Handler { return newRoutes(oldRoutes, jobsRoutes, cancelRoutes) })
)

func (g generation) routes() http.Handler {
	switch {
	case g.cancelRoutes:
		return allRoutes()
	case g.jobsAPI:
		return routesBeforeCancel()
	}
	return routesBeforeJobs()
}

// asked is the key by which a request's context has the Comfy that it came to.
type asked struct{}

func newRoutes(groups ...map[string]route) http.Handler {
	mux := http.NewServeMux()
	for _, group := range groups {
		for pattern, answer := range group {
			mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
				answer(r.Context().Value(asked{}).(*Comfy), w, r)
			})
		}
	}
	mux.Handle("/api/", http.StripPrefix("/api", mux))
	return mux
}

// route hands a request over to its route.
func (c *Comfy) route(w http.ResponseWriter, r *http.Request) {
	c.routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), asked{}, c)))
}

// ServeHTTP is the way of a request: into the ledger, past what is broken, to
// its route.
func (c *Comfy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sim/") {
		c.route(w, r)
		return
	}
	body := &bodyCounter{ReadCloser: r.Body}
	seen := &Request{Time: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
	c.ledger.note(func() { c.ledger.requests = append(c.ledger.requests, seen) })
	defer func() { c.ledger.note(func() { seen.Bytes = body.n.Load() }) }()
	if !c.loop.wait(r.Context().Done(), c.ctx.Done()) {
		panic(http.ErrAbortHandler)
	}
	r.Body = body
	path := strings.TrimPrefix(r.URL.Path, "/api")
	if fault, ok := c.faults.next(r.Method + " " + path); ok {
		c.failing(fault, r)
		c.serveFaulty(w, r, fault)
		return
	}
	c.serve(w, r)
	if c.ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
}

// serve does what ComfyUI's middlewares do and hands over to the route.
func (c *Comfy) serve(w http.ResponseWriter, r *http.Request) {
	if c.ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Server", "Python/3.14 aiohttp/3.14.3")
	switch {
	case r.Method == http.MethodOptions:
		return
	case c.gen.fetchSite && r.Header.Get("Sec-Fetch-Site") == "cross-site", foreignOrigin(r):
		w.WriteHeader(http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, c.cfg.MaxBody)
	c.route(w, r)
}

// foreignOrigin tells whether a page of another host talks to a loopback
// address.
func foreignOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	ip := net.ParseIP(host)
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return false
	}
	from, err := url.Parse(origin)
	return err == nil && from.Host != "" && from.Host != r.Host
}

// A bodyCounter counts what was read of a request's body.
type bodyCounter struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *bodyCounter) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// answer sends a JSON body.
func (c *Comfy) answer(w http.ResponseWriter, status int, v any) {
	data, err := encode(v)
	if err != nil {
		c.trouble(w)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// trouble is the answer to an exception in a handler.
func (c *Comfy) trouble(w http.ResponseWriter) {
	c.log.error("Error handling request from 127.0.0.1\nTraceback (most recent call last):")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, "500 Internal Server Error\n\nServer got itself in trouble")
}

// bodyError answers for a body that could not be read.
func (c *Comfy) bodyError(w http.ResponseWriter, err error) {
	var tooBig *http.MaxBytesError
	if !errors.As(err, &tooBig) {
		c.trouble(w)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusRequestEntityTooLarge)
	_, _ = io.WriteString(w, "Maximum request body size "+pyStr(tooBig.Limit)+" exceeded.")
}
