package worker

import (
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A history that never has what was announced makes the job run once more, on the same ComfyUI; if that one is wiped too, the job fails with history_missing, and the next one is not affected.
func TestFault_H3_WipedHistoryIsRerunOnce(t *testing.T) {
	t.Parallel()
	for _, wiped := range []int{1, 2} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			p := startPod(t, comfytest.Config{Faults: comfytest.Faults{{On: "prompt", Do: "no-history", Count: wiped}}}, nil)
			d := p.do("a", picture(1))
			if wiped == attempts {
				d.wantCause(t, CauseHistory)
			} else {
				d.wantOutput(t, 1)
			}
			if n := len(p.comfy.Executions()); n != 2 {
				t.Errorf("%d executions, want 2", n)
			}
			p.do("next", picture(2)).wantOutput(t, 1)
			if n := p.starts.Load(); n != 1 {
				t.Errorf("ComfyUI was started %d times, want once", n)
			}
		})
	}
}
