package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/run"
	"go.uber.org/zap"
)

// errStopSignal ends the group of actors when the pod is told to stop. It is no
// fault.
var errStopSignal = context.Canceled

// catchSignals takes every signal that can be taken. Nobody gives them back: a
// signal that is not taken ends PID 1 at once, in the middle of a drain.
func catchSignals() chan os.Signal {
	c := make(chan os.Signal, 64)
	signal.Notify(c)
	return c
}

// signals acts on them:
//
//	TERM INT QUIT   stop: finish and report the job at hand, then stop ComfyUI
//	a second one    stop now: report the job as abandoned, kill ComfyUI
//	USR1            log the state of everything
//	HUP             nothing, and logged: there is no configuration to read again
//	others          nothing
type signals struct {
	taken <-chan os.Signal
	// hurry is closed when the stop must be immediate.
	hurry chan struct{}
	// budget is the time from the first stop signal to the end of the program.
	budget time.Duration
	dump   func()
	log    *zap.Logger

	// late ends the program when the budget is used up.
	late func()

	once sync.Once
}

// actor adds the signals to the group as what ends it. From then on they are
// acted on by after, until the function that is returned is called.
func (s *signals) actor(g *run.Group) (ended func()) {
	var stopping sync.WaitGroup
	over, end := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	g.Add(func() error {
		defer close(done)
		return s.run(ctx)
	}, func(error) {
		cancel()
		<-done
		stopping.Go(func() { s.after(over) })
	})
	return func() { end(); stopping.Wait() }
}

// run returns when the pod is told to stop. Signals that come later are acted on
// by after.
func (s *signals) run(ctx context.Context) error {
	for {
		select {
		case sig := <-s.taken:
			if s.stops(sig) {
				s.log.Info("told to stop", zap.Stringer("signal", sig), zap.Duration("budget", s.budget))
				return errStopSignal
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// after acts on signals while the pod stops, until ctx ends, and bounds the time
// that this takes: shortly before the budget is used up everything is hurried,
// and at its end the program ends whatever it is doing.
func (s *signals) after(ctx context.Context) {
	hurry := time.NewTimer(s.budget - hurriedStop)
	defer hurry.Stop()
	end := time.NewTimer(s.budget)
	defer end.Stop()
	for {
		select {
		case sig := <-s.taken:
			if s.stops(sig) {
				s.log.Warn("told to stop again: stopping now", zap.Stringer("signal", sig))
				s.rush()
			}
		case <-hurry.C:
			s.log.Warn("the time to stop is nearly used up: stopping now", zap.Duration("budget", s.budget))
			s.rush()
		case <-end.C:
			s.late()
		case <-ctx.Done():
			return
		}
	}
}

// hurriedStop is what is kept of the budget for killing ComfyUI.
const hurriedStop = 600 * time.Millisecond

func (s *signals) rush() { s.once.Do(func() { close(s.hurry) }) }

// stops tells whether a signal asks for the stop, and acts on it if not.
func (s *signals) stops(sig os.Signal) bool {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		return true
	case syscall.SIGUSR1:
		s.dump()
	case syscall.SIGHUP:
		s.log.Info("signal ignored: there is no configuration to read again", zap.Stringer("signal", sig))
	}
	return false
}
