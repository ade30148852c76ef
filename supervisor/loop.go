package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// exitsKept is how many exits the policy is shown, more than it asks for.
const exitsKept = 64

// A loop is one call of Run: the one place that changes the state. Its fields
// belong to Run's goroutine.
type loop struct {
	*Supervisor
	ctx   context.Context
	timer *time.Timer // of the grace, the kill or the backoff
	exits []Exit
	err   error // set in the last state: what Run returns

	process  *Process
	gone     <-chan error // the process's, once it has died
	endWatch context.CancelCauseFunc
	watched  chan error // nil if nothing watches
	stop     stopping
}

// stopping is why the process is being stopped.
type stopping struct {
	at      time.Time
	reason  string
	planned bool
	cause   error
}

// keep starts the process and reacts to one event after another, until the
// process is stopped or failed for good.
func (s *Supervisor) keep(ctx context.Context, cancel context.CancelFunc) error {
	l := &loop{Supervisor: s, ctx: ctx, timer: time.NewTimer(0), process: new(Process)}
	l.timer.Stop()
	defer l.timer.Stop()

	kept := false
	defer func() {
		if !kept { // a panic unwinds
			l.abort()
		}
	}()

	l.start("started")
	done, hurry := ctx.Done(), s.cfg.Hurry
	for l.err == nil {
		select {
		case <-done:
			done = nil
			l.shutdown()
		case <-hurry:
			hurry = nil
			cancel()
			l.hurried()
		case reason := <-s.restarts:
			l.restart(reason)
		case err := <-l.watched:
			l.watched = nil
			l.noGood(err)
		case exit := <-l.process.Dead:
			l.died(exit)
		case err := <-l.gone:
			l.ended(err)
		case <-l.timer.C:
			l.elapsed()
		}
	}
	kept = true
	return l.err
}

// abort kills the process, so that nothing runs that nobody keeps any more.
func (l *loop) abort() {
	if l.process.Signal == nil || l.status.PID == 0 {
		return
	}
	l.process.Signal(unix.SIGKILL)
	select {
	case exit := <-l.process.Dead:
		l.unwatch(exit)
		<-l.process.Gone // within KillTimeout
	case <-time.After(l.cfg.KillTimeout):
		l.unwatch(ErrUnkillable)
	}
	l.mu.Lock()
	l.status.State, l.status.PID = StateStopped, 0
	l.mu.Unlock()
}

func (l *loop) shutdown() {
	switch l.status.State {
	case StateRunning:
		l.terminate(stopping{reason: "shutting down", planned: true})
	case StateBackoff:
		l.finish(StateStopped, "shutting down", l.ctx.Err())
	default: // it is being stopped, and ended will see the context
	}
}

func (l *loop) hurried() {
	switch l.status.State {
	case StateRunning, StateTerminating:
		l.stop = stopping{at: time.Now(), reason: "shutting down at once", planned: true}
		l.kill(l.stop.reason)
	default: // killing is as fast as it gets, and shutdown ends a backoff
	}
}

func (l *loop) restart(reason string) {
	switch l.status.State {
	case StateRunning:
		l.terminate(stopping{reason: reason, planned: true})
	case StateBackoff:
		l.start(reason)
	default: // it is on its way to a restart, or to the end
	}
}

func (l *loop) noGood(err error) {
	if err != nil && l.status.State == StateRunning {
		l.terminate(stopping{reason: err.Error(), cause: err})
	}
}

// died ends what runs beside the process. What came of the process may still
// be there, so the state stays until ended, which comes within KillTimeout.
func (l *loop) died(exit Exit) {
	l.timer.Stop()
	l.gone = l.process.Gone
	l.mu.Lock()
	exit.Incarnation = l.status.Incarnation
	exit.Uptime = exit.At.Sub(l.status.Started)
	exit.Worked = l.marks.worked
	if ready := l.marks.ready; !ready.IsZero() {
		exit.WasReady, exit.ReadyFor = true, exit.At.Sub(ready)
	}
	l.mu.Unlock()
	if l.stop.at.After(exit.At) {
		l.stop = stopping{} // it had ended by itself before it was told to
	}
	exit.Stopped, exit.Planned, exit.Cause = l.stop.reason, l.stop.planned, l.stop.cause
	exit.MaybeOOM = exit.MaybeOOM && exit.Stopped == ""
	l.unwatch(exit)
	l.exited(exit)
}

// ended goes on when nothing is left of the process, or when err says that
// something is and cannot be killed.
func (l *loop) ended(err error) {
	exit := l.exits[len(l.exits)-1]
	switch {
	case err != nil:
		l.finish(StateFailed, err.Error(), err)
	case l.ctx.Err() != nil:
		l.finish(StateStopped, exit.Error(), l.ctx.Err())
	default:
		l.next(exit)
	}
}

func (l *loop) elapsed() {
	switch l.status.State {
	case StateTerminating:
		l.kill(fmt.Sprintf("still there %s after SIGTERM", l.cfg.Grace))
	case StateKilling:
		err := fmt.Errorf("process %d %w: still there %s after SIGKILL, restart the pod",
			l.process.PID, ErrUnkillable, l.cfg.KillTimeout)
		l.unwatch(err)
		l.finish(StateFailed, err.Error(), err)
	case StateBackoff:
		l.start("backoff over")
	default: // the timer runs in no other state
	}
}

// start begins an incarnation. One that cannot be started counts as an exit.
func (l *loop) start(reason string) {
	n := l.status.Incarnation + 1
	l.mu.Lock()
	l.marks = marks{}
	l.mu.Unlock()
	l.timer.Stop()
	err := l.awaitPort()
	began := time.Now()
	var p *Process
	if err == nil {
		p, err = l.cfg.Launch(n)
	}
	if err != nil {
		exit := Exit{Incarnation: n, At: time.Now(), Err: err}
		l.mu.Lock()
		l.status.Incarnation = n
		l.mu.Unlock()
		l.exited(exit)
		if errors.Is(err, ErrNotExecutable) {
			l.finish(StateFailed, err.Error(), err)
			return
		}
		l.next(exit)
		return
	}
	l.process, l.gone, l.stop = p, nil, stopping{}
	l.enter(StateRunning, reason, func(s *Status) {
		s.Incarnation, s.PID, s.Started = n, p.PID, began
		s.Restarts, s.BackoffUntil = n-1, time.Time{}
	})
	l.watch()
}

func (l *loop) watch() {
	if l.cfg.Watch == nil {
		return
	}
	// It ends with the process and not with l.ctx: the process is worth
	// watching until it is gone.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(l.ctx))
	watched := make(chan error, 1)
	l.endWatch, l.watched = cancel, watched
	go func() { watched <- l.cfg.Watch(ctx) }()
}

// unwatch ends Watch and waits for it, so that it never runs beside the next
// incarnation.
func (l *loop) unwatch(cause error) {
	if l.endWatch == nil {
		return
	}
	l.endWatch(cause)
	if l.watched != nil {
		<-l.watched
	}
	l.endWatch, l.watched = nil, nil
}

func (l *loop) terminate(why stopping) {
	l.stop = why
	l.stop.at = time.Now()
	l.enter(StateTerminating, why.reason, nil)
	l.process.Signal(unix.SIGTERM)
	l.timer.Reset(l.cfg.Grace)
}

func (l *loop) kill(reason string) {
	l.enter(StateKilling, reason, nil)
	l.process.Signal(unix.SIGKILL)
	l.timer.Reset(l.cfg.KillTimeout)
}

// exited notes an exit.
func (l *loop) exited(exit Exit) {
	l.exits = append(l.exits, exit)
	if len(l.exits) > exitsKept {
		l.exits = l.exits[1:]
	}
	l.mu.Lock()
	l.status.LastExit, l.status.PID = &exit, 0
	l.mu.Unlock()
	log, fields := l.log.Info, []zap.Field{zap.Int("incarnation", exit.Incarnation),
		zap.String("exit", exit.Error()), zap.String("status", exit.status()),
		zap.Bool("oom", exit.OutOfMemory()), zap.Duration("uptime", exit.Uptime)}
	if !exit.Planned && !exit.voluntary() {
		log, fields = l.log.Warn, append(fields, zap.Strings("last_lines", exit.Tail[max(0, len(exit.Tail)-loggedLines):]))
	}
	log("process exited", fields...)
}

// loggedLines is how many of a dead process's last lines are told again in the
// log, where others may stand between them and its end.
const loggedLines = 5

// next waits for the next start, if the policy sees any use in one.
func (l *loop) next(exit Exit) {
	delay, err := l.cfg.Policy.Next(l.exits)
	if err != nil {
		l.finish(StateFailed, err.Error(), err)
		return
	}
	delay = l.cfg.Policy.jitter(delay)
	l.timer.Reset(delay)
	l.enter(StateBackoff, exit.Error(), func(s *Status) { s.BackoffUntil = time.Now().Add(delay) })
}

func (l *loop) finish(last State, reason string, err error) {
	l.timer.Stop()
	l.err = err
	l.enter(last, reason, func(s *Status) { s.BackoffUntil = time.Time{} })
}
