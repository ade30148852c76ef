package worker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

func TestRestGrowsUntilItIsEnough(t *testing.T) {
	endless, limited := Fitness{Rest: time.Second}, Fitness{Rest: time.Second, Last: 6}
	for strikes, want := range []time.Duration{0, 0, 0, 1, 2, 4, 8, 8} {
		rest, enough := endless.rest(strikes)
		if rest != want*time.Second || enough {
			t.Errorf("after %d: %v, %v; want %d s", strikes, rest, enough, want)
		}
		if rest, enough = limited.rest(strikes); enough != (strikes >= 6) || !enough && rest != want*time.Second {
			t.Errorf("after %d of 6: %v, %v", strikes, rest, enough)
		}
	}
}

func TestWhoseFaultItIs(t *testing.T) {
	refused := func(status int) error { return &comfy.HTTPError{Method: "POST", Path: "/upload/image", Status: status} }
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"no room before the job", &fullError{}, true},
		{"no room for a node", &comfy.NodeFailure{Message: "OSError: [Errno 28] No space left on device"}, true},
		{"a node", &comfy.NodeFailure{Message: "ValueError"}, false},
		{"no room for a download", fmt.Errorf("keep: %w", syscall.ENOSPC), true},
		{"a download that is not there", &fetch.Error{Reason: "the server answers 404 Not Found"}, false},
		{"an input that ComfyUI cannot store", &uploadError{"a.png", refused(500)}, true},
		{"an input that ComfyUI refuses", &uploadError{"a.png", refused(400)}, false},
		{"a prompt that ComfyUI stumbles over", refused(500), false},
		{"an output that is not there", &outputError{"a.png", refused(404)}, false},
		{"an output that we may not read", &outputError{"a.png", os.ErrPermission}, true},
		{"a volume", fmt.Errorf("find: %w", errStalled), true},
		{"nobody listens", fmt.Errorf("post: %w", syscall.ECONNREFUSED), true},
		{"a death", &lostError{syscall.ECONNRESET}, false},
		{"the job's time", &timeoutError{limit: time.Second}, false},
		{"the caller", errCanceled, false},
		{"bad input", badInput("no workflow"), false},
	}
	for _, tt := range tests {
		if got := slotIsAtFault(tt.err); got != tt.want {
			t.Errorf("%s: the slot's fault: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Only what a slot has executed proves it.
func TestStrikesInARow(t *testing.T) {
	var f fitness
	ours, theirs, input := &fullError{}, &comfy.NodeFailure{Message: "ValueError"}, badInput("no workflow")
	for i, step := range []struct {
		err  error
		want int
	}{{ours, 1}, {input, 0}, {ours, 2}, {theirs, 0}, {ours, 1}, {nil, 0}, {ours, 1}, {errCanceled, 0}, {ours, 2}} {
		if got := f.ended(step.err); got != step.want {
			t.Errorf("step %d: %d strikes after %v, want %d", i, got, step.err, step.want)
		}
	}
}

// withImage is a job that brings a file.
func withImage(seed int) string {
	return fmt.Sprintf(`{"images":[{"name":"in.txt","image":"aGVsbG8="}],"workflow":{"7":{"class_type":"SimFiles","inputs":{"count":1,"bytes":10,"kind":"images","ext":"png","filename_prefix":"x","seed":%d}}}}`, seed)
}

// unstorable lets ComfyUI store no input.
var unstorable = comfytest.Faults{{On: "POST /upload/image", Do: "answer", Status: http.StatusInternalServerError}}

// A pod whose ComfyUI cannot store the files of three jobs in a row takes a rest, tells why at its gate, and takes the next job after it: what is wrong with the pod does not empty the queue.
func TestFault_Z1_PodThatFailsItsJobsTakesARest(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{Faults: unstorable}, func(c *Config) { c.Fitness.Rest = 300 * time.Millisecond })
	for i := range strikesFirst {
		p.do(fmt.Sprint("bad-", i), withImage(i)).wantCause(t, CauseUpload)
	}
	p.waitHeld(t, "3 jobs in a row failed")
	p.comfy.SetFaults(nil)
	p.do("good", withImage(9)).wantOutput(t, 1)
	if err := p.slot.Gate.Err(); err != nil {
		t.Errorf("the gate is still held: %v", err)
	}
}

// waitHeld waits until the slot's gate is held for a reason that has all words.
func (p *pod) waitHeld(t *testing.T, words string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for changed := p.slot.Gate.Changed(); p.slot.Gate.Err() == nil; changed = p.slot.Gate.Changed() {
		select {
		case <-changed:
		case <-deadline:
			t.Fatal("the gate is not held")
		}
	}
	if err := p.slot.Gate.Err(); !strings.Contains(err.Error(), words) || !p.slot.Gate.Ready() {
		t.Errorf("the gate is closed because %v, want it held because %q", err, words)
	}
}

// The next such job after its last rest gives the slot up, and no further one is taken.
func TestFault_Z1_PodThatDoesNotRecoverIsGivenUp(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{Faults: unstorable}, func(c *Config) {
		c.Fitness = Fitness{Rest: time.Millisecond, Last: 4}
	})
	givenUp := make(chan error, 1)
	p.slot.GiveUp = func(reason error) { givenUp <- reason }
	for i := range 4 {
		p.do(fmt.Sprint("bad-", i), withImage(i)).wantCause(t, CauseUpload)
	}
	if err := <-givenUp; !errors.Is(err, ErrUnfit) {
		t.Errorf("given up because %v", err)
	}
	if p.slot.Gate.Err() == nil {
		t.Error("the gate lets jobs in until the pod has ended")
	}
}

// A full disk is waited for: nothing is taken until there is room, however long the rest of Fitness is.
func TestFault_Z1_FullDiskIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		c.MinFree = 1 << 60
		c.Fitness.Look = 10 * time.Millisecond
	})
	p.do("a", picture(1)).wantCause(t, CauseDisk)
	p.waitHeld(t, "no room for the job's files")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	p.source.submit(job.Job{ID: "b", Input: []byte(picture(2))})
	select {
	case <-p.source.result("b"):
		t.Error("a job was taken while the disk is full")
	case <-ctx.Done():
	}
}
