package simulation

import (
	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/worker"
)

// A weakness switches a defence of the program off, or plants a bug. The zero
// value leaves all as it is.
type weakness struct {
	onClient func(*comfy.Config)
	onHealth func(*health.Config)
	onSlot   func(*worker.Slot)
	onQueue  func(*runpod.Config)
	onWorker func(*worker.Config)
	onJob    func(*job.Job)
	// loses tells whether a result is to be dropped.
	loses func(r *run, id string) bool
}

func (w weakness) client(c *comfy.Config)  { apply(w.onClient, c) }
func (w weakness) health(c *health.Config) { apply(w.onHealth, c) }
func (w weakness) slot(s *worker.Slot)     { apply(w.onSlot, s) }
func (w weakness) queue(c *runpod.Config)  { apply(w.onQueue, c) }
func (w weakness) worker(c *worker.Config) { apply(w.onWorker, c) }
func (w weakness) job(j *job.Job)          { apply(w.onJob, j) }

func apply[T any](change func(*T), to *T) {
	if change != nil {
		change(to)
	}
}
