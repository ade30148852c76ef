package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// laneIn is a lane that waits for no jobs yet, with a queue that hears its asking.
func laneIn(t *testing.T, ctx context.Context) (*lane, *queue) {
	t.Helper()
	q, g := newQueue(), new(health.Gate)
	g.Open()
	w := New(Config{Source: q}, zap.NewNop())
	startIntake(ctx, t.Context(), w.intake)
	return &lane{w: w, slot: &Slot{Gate: g}, tokens: make(chan struct{}, 2), letGo: func() {}}, q
}

// A job that was announced is asked for at once, once, and is there when the lane
// wants it.
func TestAnnouncedJobIsThereWhenTheLaneIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		n, q := laneIn(t, ctx)
		n.announce()
		n.announce()
		p := <-q.polls
		if p.n != 1 {
			t.Errorf("%d jobs were asked for, want 1", p.n)
		}
		p.answer <- taken{value: named("a")}
		if j, ok := n.next(ctx); !ok || j.ID != "a" {
			t.Errorf("next = %q, %v", j.ID, ok)
		}
		synctest.Wait()
		if len(q.polls) != 0 || len(n.tokens) != 1 {
			t.Errorf("%d tokens are taken, want that of the job", len(n.tokens))
		}
	})
}

// What was announced is taken back when the job at hand needs longer: nothing more is
// asked for, and a job that has come already waits for whoever asks next.
func TestAnnouncedJobIsTakenBack(t *testing.T) {
	for _, came := range []string{"", "a"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			n, q := laneIn(t, ctx)
			n.announce()
			p := <-q.polls
			if came != "" {
				p.answer <- taken{value: named(came)}
				synctest.Wait()
			}
			n.retract()
			if came == "" {
				p.answer <- taken{}
			}
			synctest.Wait()
			select {
			case <-q.polls:
				t.Fatal("a job was asked for though nobody wants one")
			default:
			}
			if len(n.tokens) != 0 {
				t.Errorf("%d tokens are taken, want none", len(n.tokens))
			}
			if came == "" {
				return
			}
			if j, ok := n.next(ctx); !ok || j.ID != came {
				t.Errorf("next = %q, %v", j.ID, ok)
			}
		})
	}
}

// Nothing is announced while two results wait, or where the next job needs another
// process.
func TestNothingIsAnnouncedThatWouldWait(t *testing.T) {
	for name, change := range map[string]func(*lane){
		"two results": func(n *lane) { n.tokens <- struct{}{}; n.tokens <- struct{}{} },
		"refresh":     func(n *lane) { n.w.cfg.Refresh = RefreshPod },
		"wear":        func(n *lane) { n.w.cfg.Wear.Jobs = 1 },
		"prefetch":    func(n *lane) { n.w.cfg.Prefetch = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				n, q := laneIn(t, ctx)
				change(n)
				n.announce()
				synctest.Wait()
				select {
				case <-q.polls:
					t.Error("a job was asked for")
				default:
				}
			})
		})
	}
}

// A result lets the prompt of the next job go first, if that job has come already and
// does not keep it waiting.
func TestDeliveryLetsTheNextPromptGoFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		came bool
		then func(n *lane) // once the delivery waits
		want time.Duration
	}{
		"none has come":     {want: 0},
		"it is submitted":   {came: true, then: func(n *lane) { time.Sleep(time.Millisecond); n.letGo() }, want: time.Millisecond},
		"it takes too long": {came: true, then: func(*lane) {}, want: heldMost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				n, q := laneIn(t, ctx)
				n.announce()
				p := <-q.polls
				if tt.came {
					p.answer <- taken{value: named("next")}
				}
				synctest.Wait()

				began := time.Now()
				l := n.w.begin(ctx, nil, job.Job{ID: "last"})
				l.fail(errors.New("it does not matter how it ended"))
				delivered := n.w.deliverBeside(ctx, l, n.hold(), func() {})
				if tt.came {
					tt.then(n)
				} else {
					p.answer <- taken{}
				}
				<-delivered
				if took := time.Since(began); took != tt.want {
					t.Errorf("delivered after %v, want %v", took, tt.want)
				}
			})
		})
	}
}

// The lane hears when ComfyUI has the prompt.
func TestLaneIsToldOfTheSubmission(t *testing.T) {
	told := 0
	l := &life{w: New(Config{Source: newQueue()}, zap.NewNop()), slot: new(Slot), submitted: func() { told++ }}
	w := &watch{life: l, meter: newMeter(nil)}
	if w.see(comfy.Queued{Ahead: -1}); told != 1 {
		t.Errorf("it was told %d times, want once", told)
	}
}
