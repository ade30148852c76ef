package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/comfyvisor/comfyvisor/health"
)

// stall condemns the process when the execution stands still, in either of two
// ways that probes do not see. The function it returns ends the watch.
func (w *watch) stall() (stop func()) {
	ctx, cancel := context.WithCancel(w.life.ctx)
	var watching sync.WaitGroup
	for _, look := range []func(context.Context){w.silence, w.queue} {
		watching.Go(func() {
			_ = contained(w.life.log, "an execution was watched", func() { look(ctx) }) // the job goes on unwatched
		})
	}
	return func() { cancel(); watching.Wait() }
}

// silence waits for neither the process nor any of its prompts, this one or one
// before it, to have shown a sign of life for the stall limit.
func (w *watch) silence(ctx context.Context) {
	limit, life := w.life.w.cfg.Stall, w.life
	silence := health.NewSilence(func() uint64 { return life.slot.events.Load() + life.slot.Activity() })
	every(ctx, limit/10, func() {
		if silence.Tick(limit/5) >= limit {
			life.slot.Condemn(&stallError{fmt.Sprintf("the execution showed no progress, no output and no use of the processor for %v", limit)})
		}
	})
}

// queue waits, until the prompt runs, for the queue to stand still: prompts
// wait and none is run for the limit. Then the thread that executes prompts is
// gone, while everything else answers as ever.
func (w *watch) queue(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit, life := w.life.w.cfg.QueueStall, w.life
	var moves uint64 // answers that do not tell of a standing queue
	silence := health.NewSilence(func() uint64 { return moves })
	every(ctx, limit/5, func() {
		select {
		case <-w.running:
			cancel()
			return
		default:
		}
		asking, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if stands, err := life.slot.Comfy.Stands(asking); !stands || err != nil {
			moves++
		}
		if silence.Tick(limit/5*2) >= limit {
			life.slot.Condemn(&stallError{fmt.Sprintf("prompts waited in its queue and none was run for %v: the thread that executes them is gone", limit)})
		}
	})
}

// every calls f at each interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// stallError says in which way an execution stands still.
type stallError struct{ how string }

func (e *stallError) Error() string { return e.how }
