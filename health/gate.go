package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrNotStarted is the reason of a gate that nobody has opened or closed yet.
var ErrNotStarted = errors.New("ComfyUI has not started yet")

// ErrGivenUp is what Enter returns, together with the reason, once the gate
// will never open again.
var ErrGivenUp = errors.New("ComfyUI was given up")

// A Gate lets work in while ComfyUI is ready. Its zero value is closed.
// All methods may be called from any goroutine.
type Gate struct {
	mu     sync.Mutex
	open   bool
	final  bool  // closed for good
	reason error // why it is closed; nil means ErrNotStarted
	held   error // why nobody is let in though it is open; nil if it is not held

	// changed is closed, and replaced, at each change, and wakes those who wait.
	changed chan struct{}
	// inside are the cancel functions of those who are in.
	inside map[*context.CancelCauseFunc]struct{}
}

// Open lets work in.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open || g.final {
		return
	}
	g.open = true
	g.reason = nil
	g.wake()
}

// Close shuts the gate and ends every context that Enter handed out, with
// reason as the cause. A later reason replaces an earlier one.
func (g *Gate) Close(reason error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.close(reason)
}

// CloseForGood is Close for the last time: whoever waits at the gate is sent
// away. The first reason stands.
func (g *Gate) CloseForGood(reason error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.final {
		return
	}
	g.close(reason)
	g.final = true
}

// Hold lets nobody in, for as long as Release is not called, whether the gate is
// open or closed. Those who are in stay in: the process is well, and yet it must
// not be given work.
func (g *Gate) Hold(reason error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = reason
	g.wake()
}

// Release ends what Hold began.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = nil
	g.wake()
}

func (g *Gate) close(reason error) {
	if g.final {
		return
	}
	g.open = false
	g.reason = reason
	for cancel := range g.inside {
		(*cancel)(reason)
	}
	g.inside = nil
	g.wake()
}

// Ready tells whether the process behind the gate is ready, held or not.
func (g *Gate) Ready() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// Err returns nil while the gate lets work in, and else why it does not.
func (g *Gate) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err()
}

// Changed returns a channel that is closed at the next opening, closing, holding
// or releasing.
func (g *Gate) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting()
}

// Enter waits until the gate is open. The context it returns ends when the
// gate closes, with the reason as its cause. The caller must call leave. If ctx
// ends first, the error tells both that and why the gate was closed.
func (g *Gate) Enter(ctx context.Context) (inside context.Context, leave context.CancelFunc, err error) {
	for {
		g.mu.Lock()
		if g.err() == nil && ctx.Err() == nil {
			inside, leave = g.admit(ctx)
			g.mu.Unlock()
			return inside, leave, nil
		}
		changed, reason, final := g.waiting(), g.err(), g.final
		g.mu.Unlock()
		if final {
			return nil, nil, fmt.Errorf("%w: %w", ErrGivenUp, reason)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if reason == nil {
				return nil, nil, context.Cause(ctx)
			}
			return nil, nil, fmt.Errorf("%w while waiting for ComfyUI: %w", context.Cause(ctx), reason)
		}
	}
}

func (g *Gate) admit(ctx context.Context) (context.Context, context.CancelFunc) {
	inside, cancel := context.WithCancelCause(ctx)
	if g.inside == nil {
		g.inside = make(map[*context.CancelCauseFunc]struct{})
	}
	g.inside[&cancel] = struct{}{}
	return inside, func() {
		g.mu.Lock()
		delete(g.inside, &cancel)
		g.mu.Unlock()
		cancel(context.Canceled)
	}
}

func (g *Gate) err() error {
	if g.open {
		return g.held
	}
	if g.reason == nil {
		return ErrNotStarted
	}
	return g.reason
}

func (g *Gate) waiting() chan struct{} {
	if g.changed == nil {
		g.changed = make(chan struct{})
	}
	return g.changed
}

func (g *Gate) wake() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}
