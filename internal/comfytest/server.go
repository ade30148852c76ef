package comfytest

import (
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
)

// A Server is a simulated ComfyUI that listens on a port of its own. Its
// Comfy is replaced by Restart.
type Server struct {
	// URL is http://Addr, and Addr is host:port.
	URL, Addr string

	cfg  Config
	http *http.Server

	handling sync.RWMutex // held for reading by each handler

	mu    sync.Mutex
	comfy *Comfy
	done  chan struct{} // closed when the listener is gone
}

// NewServer starts a simulated ComfyUI on 127.0.0.1. With no directory in cfg
// it uses tb.TempDir. It is closed when the test ends.
func NewServer(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	if cfg.Dir == "" && (cfg.OutputDir == "" || cfg.InputDir == "" || cfg.TempDir == "") {
		cfg.Dir = tb.TempDir()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	s := Serve(l, cfg)
	tb.Cleanup(func() {
		s.Close()
		s.idle() // a handler that still writes would keep the directory
	})
	return s
}

// Serve starts a simulated ComfyUI on l, which may be an in-memory listener.
// The caller must Close the server.
func Serve(l net.Listener, cfg Config) *Server {
	if cfg.ledger == nil {
		cfg.ledger = newLedger()
	}
	s := &Server{URL: "http://" + l.Addr().String(), Addr: l.Addr().String(), cfg: cfg}
	s.start(l)
	return s
}

func (s *Server) start(l net.Listener) {
	cfg := s.cfg
	server := new(http.Server)
	told := cfg.Exit
	cfg.Exit = func(code int, sig syscall.Signal) {
		server.Close()
		if told != nil {
			told(code, sig)
		}
	}
	comfy := New(cfg)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handling.RLock()
		defer s.handling.RUnlock()
		comfy.ServeHTTP(w, r)
	})
	done := make(chan struct{})
	s.mu.Lock()
	s.http, s.comfy, s.done = server, comfy, done
	s.mu.Unlock()
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
}

// Comfy is the incarnation that runs, or the last one that ran.
func (s *Server) Comfy() *Comfy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.comfy
}

// Executions, Requests, Interrupts, SetFaults and the like speak of the
// incarnation that runs; the ledger goes on from one to the next.
func (s *Server) Executions() []Execution  { return s.Comfy().Executions() }
func (s *Server) Requests() []Request      { return s.Comfy().Requests() }
func (s *Server) Interrupts() int          { return s.Comfy().Interrupts() }
func (s *Server) HistorySize() int         { return s.Comfy().HistorySize() }
func (s *Server) Sockets() int             { return s.Comfy().Sockets() }
func (s *Server) Changed() <-chan struct{} { return s.Comfy().Changed() }
func (s *Server) SetFaults(f Faults)       { s.Comfy().SetFaults(f) }
func (s *Server) OutputDir() string        { return s.Comfy().cfg.OutputDir }
func (s *Server) InputDir() string         { return s.Comfy().cfg.InputDir }
func (s *Server) Kill(sig syscall.Signal)  { s.Comfy().Die(-1, sig) }

// Restart ends the incarnation that runs and starts the next on l, with an
// empty history and queue. A nil l listens on the same address again.
func (s *Server) Restart(l net.Listener) error {
	s.stop()
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", s.Addr); err != nil {
			return err
		}
	}
	s.start(l)
	return nil
}

// Close ends the simulated process and stops listening.
func (s *Server) Close() { s.stop() }

// idle returns when no request is being handled any more.
func (s *Server) idle() {
	s.handling.Lock()
	defer s.handling.Unlock()
}

func (s *Server) stop() {
	s.mu.Lock()
	server, comfy, done := s.http, s.comfy, s.done
	s.mu.Unlock()
	server.Close()
	comfy.Close()
	<-done
}
