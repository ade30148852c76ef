package worker

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// zombie ends the thread that executes prompts, and nothing else.
var zombie = comfytest.Faults{{On: "process", Do: "zombie"}}

// A prompt waits while nothing runs, because the thread that executes prompts
// has died between two jobs: ComfyUI is replaced after ten seconds and the job
// runs on the next one.
func TestFault_L4_PendingAndNothingRunsIsReplaced(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, func(c *Config) { c.QueueStall = 300 * time.Millisecond })
		p.do("before", picture(1)).wantOutput(t, 1)
		p.comfy.SetFaults(zombie)
		d := p.do("zombie", picture(2))
		d.wantOutput(t, 1)
		if n := p.starts.Load(); n != 2 {
			t.Errorf("ComfyUI was started %d times, want twice", n)
		}
	})
}

// The twin of L4: without that look the job waits for the stall limit, which is
// meant for silent executions and long.
func TestFault_L4_TwinWithoutTheLookAtTheQueueWaits(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.QueueStall = time.Hour })
	p.comfy.SetFaults(zombie)
	p.source.submit(job.Job{ID: "zombie", Taken: time.Now(), Timeout: 2 * time.Second, Input: json.RawMessage(picture(1))})
	p.source.wait(t, "zombie").wantCause(t, CauseTimeout)
}

// A prompt that waits behind one that goes on is not silent, however long it waits.
func TestPromptBehindABusyOneIsNotSilent(t *testing.T) {
	oneBehindAnother(t, func(c *Config) { c.Stall = 400 * time.Millisecond }, `{"seconds":1.5,"mode":"poll","steps":60,"seed":%d}`)
}

// A prompt that waits behind a long one is no sign of a dead thread.
func TestPromptBehindALongOneIsNotStalled(t *testing.T) {
	oneBehindAnother(t, func(c *Config) { c.QueueStall = 100 * time.Millisecond }, `{"seconds":1,"mode":"sleep","seed":%d}`)
}

// oneBehindAnother runs two jobs whose prompts are with ComfyUI at once. Neither may fail
// or cost ComfyUI its process.
func oneBehindAnother(t *testing.T, change func(*Config), sleep string) {
	t.Helper()
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Prefetch = true; change(c) })
	for i, id := range []string{"a", "b"} {
		p.source.submit(job.Job{ID: id, Taken: time.Now(), Input: json.RawMessage(simulated("SimSleep", fmt.Sprintf(sleep, i)))})
	}
	for _, id := range []string{"a", "b"} {
		if d := p.source.wait(t, id); d.Failure != nil {
			t.Errorf("job %s: %v", id, d.Failure)
		}
	}
	if n := p.starts.Load(); n != 1 {
		t.Errorf("ComfyUI was started %d times, want once", n)
	}
}
