package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/worker"
)

// errPanicked says that a part of the program panicked.
var errPanicked = errors.New("a fault in comfyvisor itself")

// panicWindow is the time in which a part may panic once.
const panicWindow = time.Minute

// A containment keeps a panic in one part of the program from ending all of it,
// which for PID 1 is the end of everything in the container. The part goes on,
// or is started again. One that panics for the second time within panicWindow
// ends the pod in order. All methods may be called from any goroutine.
type containment struct {
	log *zap.Logger

	mu      sync.Mutex
	last    map[string]time.Time // when each part panicked
	verdict chan error           // holds one reason to end the pod
}

func newContainment(log *zap.Logger) *containment {
	return &containment{log: log, last: make(map[string]time.Time), verdict: make(chan error, 1)}
}

// call runs f, which belongs to a part, and returns its error. If f panics, the
// error wraps errPanicked, and the panic is logged with its stack.
func (c *containment) call(part string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.panicked(part, p)
		}
	}()
	faultPoint(part)
	return f()
}

// do is call for what has no error to return.
func (c *containment) do(part string, f func()) {
	_ = c.call(part, func() error { f(); return nil }) // a panic has been told
}

// panicked is called while the panic unwinds, so that the stack is still there.
func (c *containment) panicked(part string, p any) error {
	err := fmt.Errorf("%w: panic in %s: %v", errPanicked, part, p)
	c.mu.Lock()
	again := time.Since(c.last[part]) < panicWindow
	c.last[part] = time.Now()
	c.mu.Unlock()
	c.log.Error("panic", zap.String("part", part), zap.Any("panic", p), zap.Bool("again", again), zap.ByteString("stack", debug.Stack()))
	if again {
		select {
		case c.verdict <- exitWith(exitInternal, fmt.Errorf("%w, twice within %v; please report it with the stacks in the log", err, panicWindow)):
		default:
		}
	}
	return err
}

// restarts returns f as an actor that is started again after a panic.
func (c *containment) restarts(part string, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			err := c.call(part, func() error { return f(ctx) })
			if !errors.Is(err, errPanicked) || ctx.Err() != nil {
				return err
			}
			select {
			case verdict := <-c.verdict:
				return verdict
			default:
			}
		}
	}
}

// run is the actor that ends the pod when a part cannot be helped.
func (c *containment) run(ctx context.Context) error {
	select {
	case err := <-c.verdict:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// faultPoint is called wherever a part begins or goes on. Tests replace it by
// something that panics.
var faultPoint = func(part string) {}

// A containedSource is a source that may panic while a job is taken from it:
// then it has given none.
type containedSource struct {
	worker.Source
	panics *containment
}

func (s containedSource) Take(ctx context.Context, n int) (jobs []job.Job, err error) {
	err = s.panics.call("take", func() error {
		jobs, err = s.Source.Take(ctx, n)
		return err
	})
	if errors.Is(err, errPanicked) {
		return nil, nil
	}
	return jobs, err
}

func (s containedSource) Done(ctx context.Context, r job.Result) error {
	faultPoint("deliver")
	return s.Source.Done(ctx, r)
}
