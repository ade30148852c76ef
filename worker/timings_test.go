package worker

import (
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// Each node's time is told, but not of those whose results ComfyUI still has.
func TestTimingsOfNodes(t *testing.T) {
	const step = 5 * time.Millisecond
	p := startPod(t, comfytest.Config{StepDelay: step}, nil)
	for n, known := range []bool{false, true} {
		d := p.do([]string{"a", "b"}[n], sampled)
		d.wantOutput(t, 1)
		var sum time.Duration
		for node, took := range d.Timings.Nodes {
			sum += took
			if took <= 0 || node == "" {
				t.Errorf("node %q took %v", node, took)
			}
		}
		if sum > d.Timings.Execute {
			t.Errorf("the nodes took %v of %v", sum, d.Timings.Execute)
		}
		if took, told := d.Timings.Nodes["5"]; told == known || !known && took < 9*step {
			t.Errorf("known %v: the sampler took %v, %v", known, took, d.Timings.Nodes)
		}
		if _, told := d.Timings.Nodes["7"]; !told {
			t.Errorf("nothing is told of the node that saves: %v", d.Timings.Nodes)
		}
	}
}
