package status

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Loop is a part of the program that has to come round again and again.
type Loop struct {
	Name string
	// Late is by how much it has missed its time, 0 while it is on time.
	Late time.Duration
}

// Sources are what the answers are made from. All functions are called from
// many goroutines; none may be nil.
type Sources struct {
	// Loops tells how every loop does. It may wait for nothing.
	Loops func() []Loop
	// Ready returns why the pod may not be given work, nil if it may.
	Ready func() error
	// State returns what /debug/state shows: something that JSON can encode,
	// without secrets.
	State func() any
	// Metrics is what /metrics shows.
	Metrics *Metrics
	// Profile serves Go's profiles at /debug/pprof/.
	Profile bool
}

func (s Sources) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /debug/state", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, s.State())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics.registry, promhttp.HandlerOpts{
		// More scrapes at a time than this are a fault of the scraper.
		MaxRequestsInFlight: 4,
	}))
	if s.Profile {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	return mux
}

func (s Sources) healthz(w http.ResponseWriter, _ *http.Request) {
	type late struct {
		Loop string  `json:"loop"`
		Late float64 `json:"late_seconds"`
	}
	body := struct {
		Status string `json:"status"`
		Late   []late `json:"late,omitempty"`
	}{Status: "working"}
	code := http.StatusOK
	for _, l := range s.Loops() {
		if l.Late > 0 {
			body.Status, code = "late", http.StatusServiceUnavailable
			body.Late = append(body.Late, late{l.Name, l.Late.Seconds()})
		}
	}
	answer(w, code, body)
}

func (s Sources) readyz(w http.ResponseWriter, _ *http.Request) {
	body := struct {
		Ready  bool   `json:"ready"`
		Reason string `json:"reason,omitempty"`
	}{Ready: true}
	code := http.StatusOK
	if err := s.Ready(); err != nil {
		body.Ready, body.Reason, code = false, err.Error(), http.StatusServiceUnavailable
	}
	answer(w, code, body)
}

// answer writes v as JSON. What cannot be encoded is a fault of ours, and told.
func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "encode answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n'))
}
