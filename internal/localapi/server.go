package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A Server is the local API. Create it with New.
type Server struct {
	cfg      Config
	log      *zap.Logger
	token    [32]byte // SHA-256 of the token
	session  string   // of a browser that has logged in
	conns    *limiter
	http     *http.Server
	patterns []string // of its routes
	store    *store
	spool    *spool
	closing  chan struct{} // closed when Run begins to stop
}

// ErrListen is the error of an address on which nobody can listen.
var ErrListen = errors.New("listen for the local API")

// Listen opens the address, host:port, on which a Server will answer. It is
// apart from Run so that a port in use ends the program before anything else
// is started. Its errors are ErrListen.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w on %q: %w; choose an address of this machine, and a port that no other program uses", ErrListen, addr, err)
	}
	return l, nil
}

// New returns a Server that answers on l once Run is called, which closes l.
func New(cfg Config, l net.Listener, log *zap.Logger) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:     cfg,
		log:     log,
		token:   digest(cfg.Token),
		session: sessionOf(cfg.Token),
		conns:   &limiter{Listener: l, max: cfg.MaxConns},
		store:   newStore(cfg.MaxQueue, cfg.MaxInputs, cfg.Keep),
		closing: make(chan struct{}),
	}
	s.restore()
	errorLog, _ := zap.NewStdLogAt(log, zap.WarnLevel) // fails for unknown levels only
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: cfg.HeaderTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    64 * kilobyte,
		ConnState:         connState,
		ConnContext:       withConn,
		ErrorLog:          errorLog,
	}
	return s
}

const (
	// keepAlive is how long a connection stays open for a next request.
	keepAlive = time.Minute
	// sweepEvery is how late an old result or an expired job may be noticed.
	sweepEvery = time.Second
)

// restore opens the directory for what is kept, and takes over what is in it.
func (s *Server) restore() {
	dir, err := s.cfg.SpoolDir, errors.New("no directory is set")
	if dir != "" {
		err = os.MkdirAll(dir, 0o700)
	}
	var kept map[string]stored
	if err == nil {
		s.store.journal, kept, err = openJournal(dir, s.log)
	}
	if err != nil {
		s.log.Warn("jobs and results are kept in memory, and are lost when comfyvisor ends", zap.Error(err), zap.String("directory", dir))
		dir = ""
	}
	if s.store.journal != nil {
		s.store.journal.all = s.store.everything
	}
	s.spool = newSpool(dir, s.cfg.Keep, s.log)
	waiting, files := s.store.adopt(kept, dir)
	s.spool.clean(files)
	if len(kept) > 0 {
		s.log.Info("jobs of an earlier run are taken over", zap.Int("jobs", len(kept)), zap.Int("queued", waiting))
	}
}

// Run answers requests until ctx ends, and then returns its error. Clients that
// wait for a job are told how it stands, within Config.Grace. Jobs still queued,
// and results, are kept for the next start. Where they cannot be, such jobs are
// failed and nothing is left on the disk.
func (s *Server) Run(ctx context.Context) error {
	addr := s.conns.Addr().String()
	s.log.Info("local API listening", zap.String("addr", addr))
	if s.cfg.Token == "" && !s.onLoopback() {
		s.log.Warn("local API has no token: whoever reaches this address can run jobs", zap.String("addr", addr))
	}
	defer s.keep()()
	defer s.tellHooks()()
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	defer s.store.empty()

	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-sweep.C:
			s.store.sweep()
		case err := <-served:
			s.stop()
			return fmt.Errorf("serve local API on %s: %w", addr, err)
		case <-ctx.Done():
			s.stop()
			<-served
			return ctx.Err()
		}
	}
}

// serve is http.Server.Serve, whose accepting of connections may panic as well.
func (s *Server) serve() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return s.http.Serve(s.conns)
}

// tellHooks sends webhooks until the function that it returns is called.
func (s *Server) tellHooks() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var telling sync.WaitGroup
	telling.Go(func() { s.hooks(ctx) })
	return func() {
		cancel()
		telling.Wait()
	}
}

// keep runs the journal until the function that it returns is called.
func (s *Server) keep() (end func()) {
	if s.store.journal == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() { s.store.journal.run(ctx) })
	return func() {
		cancel()
		writing.Wait()
	}
}

func (s *Server) stop() {
	s.store.close(ended(failed, &job.Failure{
		Kind: "internal", Cause: "worker_shutdown", Retryable: true,
		Message: "the server shut down before the job began; send it again",
	}, job.Timings{}))
	close(s.closing)

	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Grace)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("closing connections on which answers are not read to their end", zap.Duration("grace", s.cfg.Grace))
		_ = s.http.Close()
	}
}

// Queued is how many jobs wait to be taken.
func (s *Server) Queued() int { return s.store.count().InQueue }

// Take waits for jobs and returns between 1 and n of them, the oldest first,
// or the error of ctx.
func (s *Server) Take(ctx context.Context, n int) ([]job.Job, error) {
	for ctx.Err() == nil {
		jobs, arrived := s.store.take(n)
		if len(jobs) > 0 {
			s.store.journal.settle(ctx) // a name that a job has used must not be used twice
			return jobs, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
		}
	}
	return nil, ctx.Err()
}

// Progress shows p to whoever asks for the job while it runs.
func (s *Server) Progress(id string, p job.Progress) {
	text, err := json.Marshal(p)
	if err != nil { // a percentage that is no number
		s.log.Debug("dropping progress", zap.String("job", id), zap.Error(err))
		return
	}
	s.store.progress(id, p, text)
}

// Done keeps the result of a job for its clients. A result that cannot be kept
// fails the job, and is returned as an error; one of a job that was cancelled
// is dropped. A job that was given up because of a shutdown is kept for the next
// start where it can be. Done works until Run has returned.
func (s *Server) Done(ctx context.Context, r job.Result) error {
	if !s.store.running(r.ID) {
		return nil
	}
	if f := r.Failure; f != nil && f.Cause == causeShutdown && s.store.putBack(r.ID) {
		s.store.journal.settle(ctx)
		return nil
	}
	o, err := s.outcome(ctx, r)
	if !s.store.finish(r.ID, o) {
		o.output.remove()
	}
	s.store.sweep()
	s.store.journal.settle(ctx)
	return err
}
