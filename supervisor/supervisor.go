package supervisor

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// A Supervisor keeps one process running. All its methods may be called from
// any goroutine; Run only once at a time.
type Supervisor struct {
	cfg    Config
	reaper *Reaper
	log    *zap.Logger

	restarts chan string
	lines    *lineQueue
	output   atomic.Uint64 // bytes that the process wrote

	mu     sync.Mutex
	status Status
	marks  marks
}

// New returns a Supervisor that has not started anything.
func New(cfg Config, r *Reaper, log *zap.Logger) *Supervisor {
	cfg = cfg.withDefaults()
	s := &Supervisor{
		cfg:      cfg,
		reaper:   r,
		log:      log.With(zap.String("instance", cfg.Name)),
		restarts: make(chan string, 1),
		lines:    newLineQueue(cfg.LineRate),
		status:   Status{State: StateStopped},
	}
	if s.cfg.Launch == nil {
		s.cfg.Launch = s.launchProcess
	}
	return s
}

// Signal sends a signal to the process and its group. Without a process it
// does nothing.
func (s *Supervisor) Signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number, ok := sig.(syscall.Signal); ok && s.status.PID > 0 {
		_ = unix.Kill(-s.status.PID, number) // it may have ended in this moment
	}
}

// Restart asks for the process to be stopped and started again at once. It
// does not wait, is no failure, and ends a backoff. While the process is being
// stopped already it changes nothing.
func (s *Supervisor) Restart(reason string) {
	select {
	case s.restarts <- reason:
	default: // another wish for the same is waiting
	}
}

// Ready tells that the present incarnation has become ready. It is called
// from within Watch, so that it never meets the wrong one.
func (s *Supervisor) Ready() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marks.ready.IsZero() {
		s.marks.ready = time.Now()
	}
}

// Worked tells that the present incarnation has finished a job, which makes
// its end the first failure again.
func (s *Supervisor) Worked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks.worked = true
}

// Status returns a copy of the present state.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	if status.LastExit != nil {
		exit := *status.LastExit
		status.LastExit = &exit
	}
	return status
}

// Run keeps the process running until ctx ends or Hurry is closed; then it
// stops the process with all that came of it and returns the context's error.
// Any other error means that there is no use in going on: it wraps
// ErrCrashLoop, ErrNotExecutable or ErrUnkillable. A panic in a function of the
// Config that Run calls comes out of Run when the process has been killed; then
// Run may be called again.
func (s *Supervisor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.lines.open()
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		s.lines.deliver(s.cfg.Lines)
	}()
	defer func() {
		s.lines.close()
		select {
		case <-relayed:
		case <-time.After(s.cfg.WaitDelay): // Lines blocks; nobody can end it but its author
		}
	}()
	return s.keep(ctx, cancel)
}
