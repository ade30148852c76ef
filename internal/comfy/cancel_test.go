package comfy

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A prompt that somebody else deleted from the queue is lost, not waited for.
func TestRunOfADeletedPrompt(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		first := p.start(t.Context(), p.prompt(sleepWorkflow(20*time.Second, "poll")), nil)
		p.awaitStart(1)
		second := p.prompt(pictureWorkflow)
		done := p.start(t.Context(), second, nil)
		synctest.Wait()
		if ahead, known, err := p.Position(t.Context(), second.ID); ahead != 1 || !known || err != nil {
			t.Errorf("position %d, %t, %v; want one before it", ahead, known, err)
		}
		if err := p.command(t.Context(), "/queue", map[string]bool{"clear": true}); err != nil {
			t.Fatal(err)
		}
		if f := <-done; !errors.Is(f.err, ErrLost) {
			t.Errorf("got %v, want ErrLost", f.err)
		}
		if f := <-first; f.err != nil {
			t.Error(f.err)
		}
	})
}

// Cancel ends a prompt wherever it is, tries again until it has, and leaves the
// prompts beside it alone.
func TestFault_H11_CancelHitsOnlyItsPrompt(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		running, pending, other := p.prompt(sleepWorkflow(time.Minute, "poll")), p.prompt(pictureWorkflow), p.prompt(samplerWorkflow)
		first := p.start(t.Context(), running, nil)
		p.awaitStart(1)
		second := p.start(t.Context(), pending, nil)
		third := p.start(t.Context(), other, nil)
		p.await("three prompts", func() bool {
			q, err := p.queue(t.Context())
			return err == nil && len(q.Running)+len(q.Pending) == 3
		})
		for _, prompt := range []Prompt{pending, running} {
			if err := p.Cancel(t.Context(), prompt.ID); err != nil {
				t.Error(err)
			}
		}
		if f := <-first; !errors.Is(f.err, ErrInterrupted) {
			t.Errorf("the running prompt: %v, want ErrInterrupted", f.err)
		}
		if f := <-third; f.err != nil {
			t.Errorf("the prompt beside: %v", f.err)
		}
		if f := <-second; !errors.Is(f.err, ErrLost) {
			t.Errorf("the pending prompt: %v, want ErrLost", f.err)
		}
		if p.ran(pending.ID) != 0 {
			t.Error("the pending prompt ran")
		}
		if err := p.Cancel(t.Context(), other.ID); err != nil {
			t.Errorf("cancel of a prompt that has ended: %v", err)
		}
	})
}

// A cancel right after the submission may be lost: it is sent again.
func TestFault_H11_CancelIsRepeated(t *testing.T) {
	for _, route := range []string{"POST /interrupt", "POST /api/jobs/*"} {
		t.Run(route, func(t *testing.T) {
			faults := comfytest.Faults{{On: route, Do: "answer", Status: 200, Type: "application/json", Body: `{"cancelled": true}`, Count: 3}}
			inBubbles(t, faults, func(t *testing.T, p *peer) {
				prompt := p.prompt(sleepWorkflow(time.Hour, "poll"))
				prompt.Workflow = bytes.Replace(prompt.Workflow, []byte(`"seed"`), []byte(`"steps":100000,"seed"`), 1)
				done := p.start(t.Context(), prompt, nil)
				p.awaitStart(1)
				begun := time.Now()
				if err := p.Cancel(t.Context(), prompt.ID); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				if f := <-done; !errors.Is(f.err, ErrInterrupted) {
					t.Errorf("the run returned %v", f.err)
				}
			})
		})
	}
}

// cancelDeaf cancels a prompt that looks at no interrupt, for 5 s, and waits for its
// end. It returns its id and what Cancel did.
func (p *peer) cancelDeaf(t *testing.T) (id string, err error) {
	prompt := p.prompt(sleepWorkflow(time.Minute, "sleep"))
	done := p.start(t.Context(), prompt, nil)
	p.awaitStart(1)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err = p.Cancel(ctx, prompt.ID)
	<-done
	return prompt.ID, err
}

// A node that looks at no interrupt cannot be cancelled: ctx bounds the attempt,
// and the error says where the prompt is.
func TestFault_H11_CancelGivesUpWithItsContext(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		id, err := p.cancelDeaf(t)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrStillRuns) || !strings.Contains(err.Error(), id+": context deadline exceeded: it is still running") {
			t.Errorf("got %v", err)
		}
	})
}

// A ComfyUI that begins to answer just before the time is over is not said to keep the
// prompt, which it had no time to end.
func TestCancelIsUnsureOfAPromptSeenTooLate(t *testing.T) {
	faults := comfytest.Faults{{On: "GET /history/*", Do: "answer", Status: 503, Count: 20}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		if _, err := p.cancelDeaf(t); !errors.Is(err, ErrUnsure) || errors.Is(err, ErrStillRuns) {
			t.Errorf("got %v, want it unsure", err)
		}
	})
}

// A prompt that was given up while its submission is on its way is canceled when it
// has arrived, not taken for one that does not exist.
func TestFault_H11_CancelAwaitsTheSubmission(t *testing.T) {
	faults := comfytest.Faults{{On: "POST /prompt", Delay: 3 * time.Second, Count: 1}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		prompt := p.prompt(sleepWorkflow(20*time.Second, "poll"))
		given, giveUp := context.WithCancel(t.Context())
		done := p.start(given, prompt, nil)
		synctest.Wait()
		giveUp()
		if f := <-done; !errors.Is(f.err, context.Canceled) {
			t.Errorf("the run returned %v", f.err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := p.Cancel(ctx, prompt.ID); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second) // of the bubble: it has arrived, whatever Cancel did
		q, err := p.queue(t.Context())
		if err != nil || len(q.Running)+len(q.Pending) != 0 {
			t.Errorf("after the cancel the queue holds %+v, %v", q, err)
		}
		if posts := p.posts(); posts != 1 {
			t.Errorf("%d submissions have arrived, want the one that was on its way", posts)
		}
	})
}

// A submission that is never answered keeps Cancel, and ends with the client.
func TestCancelOfASubmissionWithoutAnswer(t *testing.T) {
	faults := comfytest.Faults{{On: "POST /prompt", Delay: time.Hour, Count: 1}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		prompt := p.prompt(pictureWorkflow)
		given, giveUp := context.WithCancel(t.Context())
		done := p.start(given, prompt, nil)
		synctest.Wait()
		giveUp()
		<-done
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := p.Cancel(ctx, prompt.ID); err == nil || !strings.Contains(err.Error(), "its submission has not been answered") {
			t.Errorf("got %v", err)
		}
		p.Reset()
		if p.postings.has(prompt.ID) {
			t.Error("the submission to a process that was replaced goes on")
		}
	})
}
