package comfytest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

func (c *Comfy) newRoutes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /{$}":                       c.getIndex,
		"GET /ws":                        c.serveWS,
		"GET /prompt":                    c.getPrompt,
		"POST /prompt":                   c.postPrompt,
		"GET /queue":                     c.getQueue,
		"POST /queue":                    c.postQueue,
		"GET /history":                   c.getHistory,
		"GET /history/{id}":              c.getHistory,
		"POST /history":                  c.postHistory,
		"POST /interrupt":                c.postInterrupt,
		"POST /free":                     c.postFree,
		"GET /system_stats":              c.getSystemStats,
		"GET /features":                  func(w http.ResponseWriter, _ *http.Request) { c.answer(w, http.StatusOK, c.features()) },
		"GET /object_info":               c.getObjectInfo,
		"GET /object_info/{class}":       c.getObjectInfo,
		"GET /embeddings":                c.getEmbeddings,
		"GET /models":                    c.getModels,
		"GET /models/{folder}":           c.getModelFolder,
		"GET /extensions":                func(w http.ResponseWriter, _ *http.Request) { c.answer(w, http.StatusOK, []any{}) },
		"GET /view":                      c.getView,
		"POST /upload/image":             c.postUpload,
		"POST /upload/mask":              c.postUpload,
		"GET /internal/logs":             c.getLogs,
		"GET /internal/logs/raw":         c.getRawLogs,
		"GET /internal/files/{kind}":     c.getFiles,
		"GET /internal/folder_paths":     c.getFolderPaths,
		"PATCH /internal/logs/subscribe": func(http.ResponseWriter, *http.Request) {},
		"POST /sim/faults":               c.postFaults,
		"GET /sim/ledger":                c.getLedger,
	} {
		mux.HandleFunc(pattern, h)
	}
	if c.gen.jobsAPI {
		mux.HandleFunc("GET /api/jobs", c.getJobs)
		mux.HandleFunc("GET /api/jobs/{id}", c.getJob)
		mux.HandleFunc("GET /api/assets", c.assetsDisabled)
		mux.HandleFunc("GET /api/tags", c.assetsDisabled)
	}
	if c.gen.cancelRoutes {
		mux.HandleFunc("POST /api/jobs/cancel", c.postCancelJobs)
		mux.HandleFunc("POST /api/jobs/{id}/cancel", c.postCancelJob)
	}
	if c.cfg.Real != nil && c.cfg.Real.Reboot != nil {
		reboot := func(http.ResponseWriter, *http.Request) { c.cfg.Real.Reboot() }
		mux.HandleFunc("POST /v2/manager/reboot", reboot)
		mux.HandleFunc("GET /manager/reboot", reboot)
	}
	mux.Handle("/api/", http.StripPrefix("/api", mux))
	return mux
}

// ServeHTTP is the way of a request: into the ledger, past what is broken, to
// its route.
func (c *Comfy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sim/") {
		c.routes.ServeHTTP(w, r)
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
	c.routes.ServeHTTP(w, r)
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
