package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"
)

// restarts are those of ComfyUI that people ask for. There is at most one of
// each kind under way: who asks meanwhile asks for the same one.
type restarts struct {
	comfys instances
	log    *zap.Logger

	mu      sync.Mutex
	pending map[*instance]wish // from its beginning until the next ComfyUI is ready
	ended   bool
	waiting sync.WaitGroup
}

// A wish is a restart under way.
type wish struct {
	force bool
	end   context.CancelFunc
}

// asked is the reason of such a restart, for the log and for the jobs that meet
// it.
const asked = "planned: somebody asked for it (POST /restart)"

// ask has every ComfyUI replaced: when all its jobs are delivered, or with force
// at once. Then the job at hand loses its ComfyUI as it would in a crash: it runs
// once more, and fails if that was its second run. It returns what will happen.
func (r *restarts) ask(force bool) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return "", errors.New("the pod is being stopped")
	}
	if r.pending == nil {
		r.pending = make(map[*instance]wish)
	}
	jobs := 0
	for _, in := range r.comfys {
		if in.slot.Running() != "" {
			jobs++
		}
		if before, there := r.pending[in]; !there {
			r.begin(in, force)
		} else if force && !before.force {
			before.end()
			r.begin(in, true)
		}
	}
	switch {
	case force && jobs > 0:
		return fmt.Sprintf("ComfyUI is restarted at once; %d running job(s) will run again", jobs), nil
	case force:
		return "ComfyUI is restarted at once", nil
	case jobs > 0:
		return fmt.Sprintf("ComfyUI is restarted when the running job(s), %d of them, are delivered", jobs), nil
	}
	return "ComfyUI is restarted as soon as it has no job", nil
}

// begin has one ComfyUI replaced. The lock is held.
func (r *restarts) begin(in *instance, force bool) {
	ctx, end := context.WithCancel(context.Background())
	r.pending[in] = wish{force, end}
	r.log.Info("restart asked for", zap.String("instance", in.name), zap.Bool("force", force))
	r.waiting.Go(func() {
		defer end()
		replace := in.slot.Replace
		if force {
			replace = func(context.Context, string) error { in.restart(asked); return nil }
		}
		if replace(ctx, asked) == nil {
			if _, leave, err := in.gate.Enter(ctx); err == nil { // the next one is ready
				leave()
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() == nil { // else another restart has taken the place
			delete(r.pending, in)
		}
	})
}

// run gives up, when ctx ends, what is still waited for.
func (r *restarts) run(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	r.ended = true
	for _, w := range r.pending {
		w.end()
	}
	r.mu.Unlock()
	r.waiting.Wait()
	return ctx.Err()
}
