package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A running job that the caller gives up leaves the GPU within a second, also when the next prompt already stands behind it in ComfyUI's queue; that one completes and ComfyUI is not restarted.
func TestFault_J5_StoppedJobLeavesTheGPU(t *testing.T) {
	t.Parallel()
	bothGenerations(t, func(t *testing.T, version string) {
		p, q := queued(t, runpodtest.Config{Hold: hold, HoldStop: time.Minute},
			"SIMCOMFY_VERSION", version, "JOB_PREFETCH", "1")
		p.waitReady()
		pid := p.comfyPID()
		// A machine that is busy with other things may be slow at one stop, hardly at each.
		const tries = 10
		fastest := time.Hour
		for n := 1; n <= tries && fastest > time.Second; n++ {
			fastest = min(fastest, p.stopOne(q, n))
		}
		if fastest > time.Second {
			t.Errorf("the GPU was held for %v after the stop at the least", fastest)
		}
		if now := p.comfyPID(); now != pid {
			t.Errorf("ComfyUI was restarted: pid %d, then %d", pid, now)
		}
		checked(t, q)
	})
}

// stopOne stops a job that executes while another one stands behind it, for the
// nth time, and returns how long it held the GPU after that.
func (p *program) stopOne(q *runpodtest.Server, n int) time.Duration {
	p.t.Helper()
	stopped, next := fmt.Sprint("stopped-", n), fmt.Sprint("next-", n)
	q.Submit(stopped, endless(n))
	p.waitLines(2*n-1, "got prompt")
	q.Submit(next, slow(0.2, n))
	p.waitLines(2*n, "got prompt")
	begun := time.Now()
	q.Stop(stopped)
	if o := ends(p.t, q, next); o.Status != runpodtest.Completed {
		p.t.Errorf("job %s: %+v", next, o)
	}
	runs := p.executed(2 * n)
	if got := outcomes(runs); got[comfytest.Interrupted] != n || got[comfytest.Success] != n || len(runs) != 2*n {
		p.t.Fatalf("executions: %v, want %d interrupted and as many successes", got, n)
	}
	p.waitLines(n, "job failed", "canceled")
	return runs[2*n-2].Ended.Sub(begun)
}

// A job that is given up while its prompt waits behind another one is never executed, and the one that runs does not notice.
func TestFault_H11_StoppedPromptBehindARunningOne(t *testing.T) {
	t.Parallel()
	bothGenerations(t, func(t *testing.T, version string) {
		p, q := queued(t, runpodtest.Config{Hold: hold, HoldStop: time.Minute},
			"SIMCOMFY_VERSION", version, "JOB_PREFETCH", "1")
		q.Submit("a", slow(6, 1))
		p.waitLines(1, "got prompt")
		q.Submit("b", endless(2))
		p.waitLines(2, "got prompt")
		q.Stop("b")
		p.waitLine("job failed", "canceled")
		if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
			t.Errorf("job a: %+v", o)
		}
		q.Submit("c", picture(3))
		if o := ends(t, q, "c"); o.Status != runpodtest.Completed {
			t.Errorf("job c: %+v", o)
		}
		if runs := p.executed(2); len(runs) != 2 || outcomes(runs)[comfytest.Success] != 2 {
			t.Errorf("executions: %v, want a and c alone", outcomes(runs))
		}
		checked(t, q)
	})
}
