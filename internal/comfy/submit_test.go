package comfy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// ran counts the executions of a prompt that were not withdrawn.
func (p *peer) ran(id string) int {
	n := 0
	for _, e := range p.Executions() {
		if e.PromptID == id {
			n++
		}
	}
	return n
}

// posts counts the submissions that have arrived.
func (p *peer) posts() int {
	n := 0
	for _, r := range p.Requests() {
		if r.Method == "POST" && r.Path == "/prompt" {
			n++
		}
	}
	return n
}

// A refused workflow fails at once with the node at fault, is not retried, and
// leaves nothing in the queue.
func TestFault_H1_RefusedWorkflow(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		for name, workflow := range map[string]string{
			"unknown class": `{"7":{"class_type":"NoSuchNode","inputs":{}},"8":{"class_type":"SaveImage","inputs":{"images":["7",0],"filename_prefix":"x"}}}`,
			"missing model": strings.Replace(samplerWorkflow, "sd_xl_base_1.0.safetensors", "nope.safetensors", 1),
			"missing input": `{"7":{"class_type":"SaveImage","inputs":{"filename_prefix":"x"}}}`,
		} {
			_, err := p.Run(t.Context(), p.prompt(workflow), nil)
			var rejected *RejectedError
			if !errors.As(err, &rejected) || len(rejected.Nodes) != 1 || rejected.Nodes[0].Class == "" || rejected.Nodes[0].Node == "" {
				t.Errorf("%s: %v (%+v), want one node with its class", name, err, rejected)
			}
		}
		if submissions := p.posts(); submissions != 3 || len(p.Executions()) != 0 {
			t.Errorf("3 workflows were submitted %d times and executed %d times", submissions, len(p.Executions()))
		}
	})
}

// A workflow that ComfyUI accepts only in part is a refused one: what it would
// execute is withdrawn.
func TestFault_H1_AcceptedInPart(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		workflow := `{"1":{"class_type":"SimSleep","inputs":{"seconds":600,"mode":"poll","steps":100000}},
			"3":{"class_type":"SaveImage","inputs":{"filename_prefix":"x"}}}`
		_, err := p.Run(t.Context(), p.prompt(workflow), nil)
		var rejected *RejectedError
		if !errors.As(err, &rejected) || len(rejected.Nodes) != 1 || rejected.Nodes[0].Field != "images" {
			t.Fatalf("got %v, want a rejection of node 3", err)
		}
		for _, e := range p.Executions() {
			if e.Outcome != comfytest.Interrupted {
				t.Errorf("the part that was accepted ended as %s", e.Outcome)
			}
		}
		if q, err := p.queue(t.Context()); err != nil || len(q.Running)+len(q.Pending) != 0 {
			t.Errorf("the queue is %+v, %v; want it empty", q, err)
		}
	})
}

// A prompt whose submission was not answered, or with 500, runs exactly once.
func TestFault_H2_LostAnswer(t *testing.T) {
	for _, fault := range []comfytest.Fault{
		{Do: "lost", Count: 1},
		{Do: "reset", Count: 1},
		{Do: "ran", Status: 500, Body: "500 Internal Server Error\n\nServer got itself in trouble", Count: 1},
		{Do: "answer", Status: 502, Count: 1},
		{Do: "ran", Status: 200, Body: "{", Count: 1},
		{Do: "lost", Count: 2},
		{Do: "hang", Count: 1},
	} {
		t.Run(fmt.Sprint(fault.Do, fault.Status, fault.Count), func(t *testing.T) {
			fault.On = "POST /prompt"
			inBubbles(t, comfytest.Faults{fault}, func(t *testing.T, p *peer) {
				prompt := p.prompt(pictureWorkflow)
				f := <-p.start(t.Context(), prompt, nil)
				if f.err != nil || len(f.outcome.Outputs) != 1 {
					t.Errorf("outcome %+v, %v", f.outcome, f.err)
				}
				if n := p.ran(prompt.ID); n != 1 {
					t.Errorf("the prompt ran %d times", n)
				}
			})
		})
	}
}

// A submission that fails twice without being accepted is given up, with the
// answer that ComfyUI gave.
func TestFault_H2_NeverAccepted(t *testing.T) {
	faults := comfytest.Faults{{On: "POST /prompt", Do: "answer", Status: 500, Body: "Server got itself in trouble"}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		f := <-p.start(t.Context(), p.prompt(pictureWorkflow), nil)
		var refused *HTTPError
		if !errors.As(f.err, &refused) || refused.Status != 500 || !strings.Contains(f.err.Error(), "in trouble") {
			t.Errorf("got %v, want the answer 500", f.err)
		}
	})
}

// While it is not known whether ComfyUI has the prompt it is not submitted again.
func TestFault_H2_DoubtIsResolvedFirst(t *testing.T) {
	faults := comfytest.Faults{
		{On: "POST /prompt", Do: "lost", Count: 1},
		{On: "GET /history/*", Do: "answer", Status: 503, Count: 9},
	}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		prompt := p.prompt(sleepWorkflow(time.Minute, "sleep"))
		f := <-p.start(t.Context(), prompt, nil)
		if f.err != nil || p.ran(prompt.ID) != 1 {
			t.Errorf("the prompt ran %d times, %v", p.ran(prompt.ID), f.err)
		}
	})
}

// A body that is too large is refused with 413, which is final.
func TestFault_H2_TooLarge(t *testing.T) {
	faults := comfytest.Faults{{On: "POST /prompt", Do: "answer", Status: 413, Body: "Maximum request body size 104857600 exceeded."}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		_, err := p.Run(t.Context(), p.prompt(pictureWorkflow), nil)
		want := "POST /prompt: ComfyUI answered 413: Maximum request body size 104857600 exceeded."
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// The history may come up to 5 s after the event that announced the end.
func TestFault_H3_LateHistory(t *testing.T) {
	for _, delay := range []time.Duration{3 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			inBubbles(t, comfytest.Faults{{On: "prompt", Do: "late-history", Delay: delay}}, func(t *testing.T, p *peer) {
				wantInTime(t, p, <-p.start(t.Context(), p.prompt(pictureWorkflow), nil), 10*time.Millisecond)
			})
		})
	}
}

// If the history never has what was announced, the run says so after 5 s.
func TestFault_H3_HistoryNeverComes(t *testing.T) {
	inBubbles(t, comfytest.Faults{{On: "prompt", Do: "no-history"}}, func(t *testing.T, p *peer) {
		f := <-p.start(t.Context(), p.prompt(pictureWorkflow), nil)
		if !errors.Is(f.err, ErrHistoryMissing) {
			t.Fatalf("got %v, want ErrHistoryMissing", f.err)
		}
		if late := p.late(f); late < settleFor || late > settleFor+time.Second {
			t.Errorf("it took %v, want about %v", late, settleFor)
		}
	})
}

// The end is seen without its marker, too.
func TestFault_H3_NoEndMarker(t *testing.T) {
	inBubbles(t, comfytest.Faults{{On: "ws", Do: "no-end"}}, func(t *testing.T, p *peer) {
		wantInTime(t, p, <-p.start(t.Context(), p.prompt(pictureWorkflow), nil), 11*time.Millisecond)
		wantInTime(t, p, <-p.start(t.Context(), p.prompt(`{"1":{"class_type":"SimSleep","inputs":{"seconds":9}}}`), nil), 11*time.Millisecond)
	})
}
