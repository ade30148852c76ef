package worker

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// After as many jobs as were asked for, ComfyUI is restarted between two of
// them, never during one: each job is executed once.
func TestFault_C12_RestartsBetweenJobs(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []bool{false, true} {
		t.Run(fmt.Sprintf("prefetch %v", prefetch), func(t *testing.T) {
			p := startPod(t, comfytest.Config{}, func(c *Config) { c.Prefetch, c.Wear.Jobs = prefetch, 3 })
			const jobs = 12
			for i := range jobs {
				p.source.submit(job.Job{ID: fmt.Sprint(i), Taken: time.Now(), Input: json.RawMessage(picture(i))})
			}
			for i := range jobs {
				p.source.wait(t, fmt.Sprint(i)).wantOutput(t, 1)
			}
			if n := p.starts.Load(); n < 3 || n > 1+jobs/3 {
				t.Errorf("ComfyUI was started %d times", n)
			}
			p.ranOnce(jobs)
		})
	}
}

// ranOnce fails the test unless so many prompts were executed, each to its end.
func (p *pod) ranOnce(jobs int) {
	p.t.Helper()
	runs := p.comfy.Executions()
	if len(runs) != jobs {
		p.t.Errorf("%d executions of %d jobs", len(runs), jobs)
	}
	for _, e := range runs {
		if e.Outcome != comfytest.Success {
			p.t.Errorf("an execution ended as %s", e.Outcome)
		}
	}
}

// A process that has grown to the limit is replaced after the job that made it
// so; one that has run nothing yet is left alone.
func TestFault_C12_RestartsAtTheMemoryLimit(t *testing.T) {
	var share atomic.Value
	share.Store(0.95)
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.Wear = Wear{Memory: 0.9, Look: 10 * time.Millisecond}
		c.Slots[0].Memory = func() float64 { return share.Load().(float64) }
	})
	p.do("a", picture(1)).wantOutput(t, 1)
	p.restarted(2)
	share.Store(0.5)
	p.do("b", picture(2)).wantOutput(t, 1)
	p.do("c", picture(3)).wantOutput(t, 1)
	if n := p.starts.Load(); n != 2 {
		t.Errorf("ComfyUI was started %d times, want twice", n)
	}
}

// restarted waits until ComfyUI was started n times.
func (p *pod) restarted(n int64) {
	p.t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); p.starts.Load() < n; {
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("ComfyUI was started %d times, want %d", p.starts.Load(), n)
		}
	}
}

// A process that has been ready long enough is replaced while it is idle, and a
// job that runs longer than that is left to its end.
func TestFault_C12_RestartsWhenIdleAndNeverInAJob(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.Wear = Wear{Uptime: 300 * time.Millisecond, Look: 10 * time.Millisecond}
	})
	p.restarted(2)
	p.do("long", simulated("SimSleep", `{"seconds":1,"mode":"sleep","seed":1}`))
	p.ranOnce(1)
	p.restarted(p.starts.Load() + 1)
}
