package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// Wear says when a process is replaced although it works, between two jobs.
// Fields that are 0 ask for nothing.
type Wear struct {
	// Jobs is how many it may run.
	Jobs int
	// Memory is the share of the memory limit that may be in use, between 0 and
	// 1. A process that has run no job yet is not replaced for it: the next one
	// would need as much.
	Memory float64
	// Uptime is how long it may be ready.
	Uptime time.Duration
	// Look is the time between two looks at an idle process; 10 s.
	Look time.Duration
}

func (w Wear) none() bool { return w.Jobs == 0 && w.Memory == 0 && w.Uptime == 0 }

// wear is what a slot's process has gone through since it became ready.
type wear struct {
	mu    sync.Mutex
	ready time.Time
	jobs  int
}

// Ready tells the slot that its process has become ready.
func (s *Slot) Ready() { s.wear.begin() }

func (w *wear) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready, w.jobs = time.Now(), 0
}

func (w *wear) ran() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs++
}

// worn returns why the process is to be replaced, "" if it is not.
func (s *Slot) worn(limit Wear) string {
	if limit.none() || !s.Gate.Ready() {
		return ""
	}
	s.wear.mu.Lock()
	ready, jobs := s.wear.ready, s.wear.jobs
	s.wear.mu.Unlock()
	if limit.Jobs > 0 && jobs >= limit.Jobs {
		return fmt.Sprintf("it has run %d jobs (RESTART_AFTER_JOBS)", jobs)
	}
	if up := time.Since(ready); limit.Uptime > 0 && !ready.IsZero() && up >= limit.Uptime {
		return fmt.Sprintf("it has been ready for %v (RESTART_AFTER_UPTIME)", up.Round(time.Second))
	}
	if limit.Memory > 0 && jobs > 0 {
		if share := s.Memory(); share >= limit.Memory {
			return fmt.Sprintf("%.0f %% of the memory limit are in use (RESTART_AT_MEMORY)", 100*share)
		}
	}
	return ""
}

// everybody is the weight, at Slot.users, of all jobs that there could be.
const everybody = 1 << 20

// next waits for a job, one that was announced unless processes wear. Before, and while there is none, it replaces the slot's
// process if that is worn.
func (w *Worker) next(ctx context.Context, s *Slot, announced bool) (job.Job, bool) {
	if w.cfg.Wear.none() {
		return w.intake.next(ctx, s.Gate, announced)
	}
	for ctx.Err() == nil {
		w.renew(ctx, s)
		look, cancel := context.WithTimeout(ctx, w.cfg.Wear.Look)
		j, ok := w.intake.next(look, s.Gate, false)
		over := look.Err() != nil
		cancel()
		if ok || !over { // a job, or the gate will never open again
			return j, ok
		}
	}
	return job.Job{}, false
}

// renew replaces the slot's process if it is worn, as soon as all its jobs are
// delivered: outputs may have to be fetched from it.
func (w *Worker) renew(ctx context.Context, s *Slot) {
	if s.worn(w.cfg.Wear) == "" || s.users.Acquire(ctx, everybody) != nil {
		return
	}
	defer s.users.Release(everybody)
	if reason := s.worn(w.cfg.Wear); reason != "" { // the slot's other lane may have been quicker
		w.log.Info("ComfyUI is replaced between jobs", zap.String("reason", reason))
		s.wear.begin()
		s.Restart("planned: " + reason)
	}
}

// Replace replaces the slot's process although nothing is wrong with it, as soon
// as all its jobs are delivered; the next ones wait. The error is that of ctx, if
// it ends before that.
func (s *Slot) Replace(ctx context.Context, reason string) error {
	if err := s.users.Acquire(ctx, everybody); err != nil {
		return err
	}
	defer s.users.Release(everybody)
	s.wear.begin()
	s.Restart(reason)
	return nil
}
