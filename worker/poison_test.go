package worker

import (
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// raising is the input of a job whose node raises what CUDA said.
func raising(message, seed string) string {
	return simulated("SimRaise", `{"exception_type":"torch.AcceleratorError","message":"`+message+`","seed":`+seed+`}`)
}

// An error after which the process may be well or not: it is asked for its GPU first. If it answers it is left alone, and the job has failed by itself; if it does not it is replaced, and the job gets another try.
func TestFault_C10_SuspectProcessIsProbedFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		faults   comfytest.Faults
		starts   int64
		attempts int
	}{
		"well":     {nil, 1, 1},
		"poisoned": {comfytest.Faults{{On: "GET /system_stats", Do: "answer", Status: 500}}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, comfytest.Config{}, nil)
			p.do("before", picture(1)).wantOutput(t, 1)
			p.comfy.SetFaults(tt.faults)
			d := p.do("suspect", raising("CUDA error: unknown error", "1"))
			d.wantCause(t, CauseNode)
			if d.Failure.Attempts != tt.attempts {
				t.Errorf("attempts = %d, want %d", d.Failure.Attempts, tt.attempts)
			}
			p.comfy.SetFaults(nil)
			p.do("next", picture(2)).wantOutput(t, 1)
			if n := p.starts.Load(); n != tt.starts {
				t.Errorf("ComfyUI was started %d times, want %d", n, tt.starts)
			}
		})
	}
}

// Two jobs poison one process after the other, and nothing succeeds in between: the host is at fault and is given up. The job at hand is not to blame: it fails as gpu_poisoned and may be tried again elsewhere.
func TestFault_C10_HostAtFaultIsGivenUp(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	const sticky = "CUDA error: an illegal memory access was encountered"
	p.do("first", raising(sticky, "1")).wantCause(t, CauseNode) // it poisoned two processes
	d := p.do("second", raising(sticky, "2"))
	d.wantCause(t, CausePoisoned)
	if !d.Failure.Retryable || !strings.Contains(d.Failure.Message, "an illegal memory access was encountered") {
		t.Errorf("failure = %+v, want it retryable and with the reason", d.Failure)
	}
	if err := p.slot.Gate.Err(); err == nil {
		t.Error("the gate is open")
	}
}
