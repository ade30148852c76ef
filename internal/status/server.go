package status

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Limits on a client, and on how long the end of the server waits for them.
const (
	readLimit  = 5 * time.Second
	writeLimit = 10 * time.Second
	stopLimit  = 500 * time.Millisecond
)

// A Server gives the answers. It is made by Listen.
type Server struct {
	listener net.Listener
	http     http.Server
}

// Listen takes the address (host:port). Its error names the address; nothing
// was started then.
func Listen(addr string, sources Sources, log *zap.Logger) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve status on %s: %w", addr, err)
	}
	errorLog, err := zap.NewStdLogAt(log, zap.DebugLevel)
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("serve status on %s: %w", addr, err)
	}
	return &Server{listener: l, http: http.Server{
		Handler:           sources.handler(),
		ReadHeaderTimeout: readLimit,
		ReadTimeout:       readLimit,
		WriteTimeout:      writeLimit,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          errorLog,
	}}, nil
}

// Addr returns the address that was taken, with the port that a port of 0 became.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends and then gives the answers that are being written
// half a second. It returns the context's error, or what ended the server
// before. It must be called once, also to give the address back.
func (s *Server) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve status on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if s.http.Shutdown(stop) != nil {
		_ = s.http.Close()
	}
	<-ended
	return ctx.Err()
}
