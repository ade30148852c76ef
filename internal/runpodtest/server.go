package runpodtest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
)

// A Server is a Queue that listens. It closes at the end of the test.
type Server struct {
	*Queue
	// URL is where it is reached, without a path.
	URL string
	// Dial connects to it, whatever the address.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	http *http.Server
	done chan struct{}
}

// NewServer returns a queue on a port of the loopback interface.
func NewServer(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen for simulated queue: %v", err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}
	return serve(tb, cfg, l, "http://"+l.Addr().String(), dial)
}

// NewPipeServer returns a queue in memory, which only its Dial reaches. In a
// synctest bubble, call Close before the bubble ends.
func NewPipeServer(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	p := NewPipe()
	return serve(tb, cfg, p, "http://queue.test", p.Dial)
}

func serve(tb testing.TB, cfg Config, l net.Listener, url string, dial func(context.Context, string, string) (net.Conn, error)) *Server {
	q := New(cfg)
	s := &Server{
		Queue: q, URL: url, Dial: dial, done: make(chan struct{}),
		http: &http.Server{Handler: q, ErrorLog: log.New(io.Discard, "", 0)},
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("serve simulated queue: %v", err)
		}
	}()
	tb.Cleanup(s.Close)
	return s
}

// Close cuts all connections. It may be called more than once.
func (s *Server) Close() {
	_ = s.http.Close() // all of it is in this process
	<-s.done
}

// Env returns the variables of a worker at this queue.
func (s *Server) Env() map[string]string { return s.Queue.Env(s.URL) }
