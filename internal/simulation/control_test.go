package simulation

import (
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/worker"
)

const never = 10_000 * time.Hour

// budget is how many runs the simulation has to notice that a defence is off.
const budget = 3000

// A simulation that does not notice a missing defence proves nothing: each of
// these, switched off, makes it fail.
func TestSimulationNoticesWhatIsSwitchedOff(t *testing.T) {
	controls := map[string]weakness{
		"history is not asked": {onClient: func(c *comfy.Config) { c.PollSilent = never }},
		"results are posted once": {onQueue: func(c *runpod.Config) {
			c.ResultDeadline = time.Nanosecond
		}},
		"the gate is always open": {onSlot: func(s *worker.Slot) {
			s.Gate = new(health.Gate)
			s.Gate.Open()
		}},
		"the stop leaves no time for reports": {onWorker: func(c *worker.Config) {
			c.Drain, c.Deliver = time.Nanosecond, time.Nanosecond
		}},
		"a hung process is not noticed":  {onHealth: func(c *health.Config) { c.LiveSilence, c.BootStall, c.BootLimit = never, never, never }},
		"a dead prompt thread is not":    {onWorker: func(c *worker.Config) { c.QueueStall, c.Stall = never, never }},
		"a stop does not reach its job":  {onJob: func(j *job.Job) { j.Canceled = nil }},
		"the limit of a job is ignored":  {onJob: func(j *job.Job) { j.Timeout = 0 }},
		"a poisoned process works on":    {onSlot: func(s *worker.Slot) { s.Condemn = func(error) {} }},
		"no heartbeat tells of the jobs": {onQueue: func(c *runpod.Config) { c.PingInterval = never }},
		"readiness is seldom asked for":  {onHealth: func(c *health.Config) { c.BootInterval, c.BootTries = 400*time.Millisecond, 1000 }},
		"a refreshed pod takes more": {onWorker: func(c *worker.Config) {
			if c.Refresh == worker.RefreshPod {
				c.Refresh = worker.RefreshNone
			}
		}},
		"a worn process works on":        {onWorker: func(c *worker.Config) { c.Wear = worker.Wear{} }},
		"a hurried stop leaves the poll": {onQueue: func(c *runpod.Config) { c.Hurry = nil; c.LastRead = time.Hour }},
	}
	for name, w := range controls {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= budget; seed++ {
				if r := play(t, newPlan(seed), w); len(r.violations) > 0 {
					t.Logf("seed %d: %.300s", seed, r.violations[0].text)
					return
				}
			}
			t.Errorf("%d runs did not notice", budget)
		})
	}
}
