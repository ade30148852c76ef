package comfy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/gorilla/websocket"
)

// Without questions a cut socket would leave the run waiting for ever: this is
// the twin of the tests of W1 and W3, which must hang.
func TestFault_W3_TwinWithoutQuestionsHangs(t *testing.T) {
	inBubbles(t, comfytest.Faults{{On: "ws", Do: "silent", After: 4}}, func(t *testing.T, p *peer) {
		p.Client.cfg.PollSilent = 1000 * time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if f := <-p.start(ctx, p.prompt(pictureWorkflow), nil); !errors.Is(f.err, context.DeadlineExceeded) {
			t.Errorf("got %v, want it to hang", f.err)
		}
	})
}

// noticed is how late the end of a prompt may be seen without events.
const noticed = 2100 * time.Millisecond

// wantInTime fails unless the run succeeded soon after the prompt ended.
func wantInTime(t *testing.T, p *peer, f finished, most time.Duration) {
	t.Helper()
	if f.err != nil {
		t.Fatal(f.err)
	}
	if late := p.late(f); late > most {
		t.Errorf("the end was noticed %v late, want at most %v", late, most)
	}
}

// When the socket is cut and the prompt ends in the gap, the history is asked
// right after the reconnect, and the end is seen.
func TestFault_W1_EndFallsIntoTheGap(t *testing.T) {
	faults := comfytest.Faults{{On: "ws", Do: "cut", After: 6, Count: 1}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		tell, told := collect()
		f := <-p.start(t.Context(), p.prompt(samplerWorkflow), tell)
		wantInTime(t, p, f, noticed)
		if len(f.outcome.Outputs) != 1 {
			t.Errorf("outputs %v, want one", f.outcome.Outputs)
		}
		if !has[SocketLost](told()) {
			t.Error("the loss of the socket was not told")
		}
	})
}

// The first attempt to reconnect is immediate, the delay spaces the others, and
// when they are used up the run goes on by asking.
func TestFault_W1_ReconnectsThenPolls(t *testing.T) {
	faults := comfytest.Faults{{On: "ws", Do: "cut", After: 3, Count: 1}, {On: "ws", Do: "refuse"}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		tell, told := collect()
		f := <-p.start(t.Context(), p.prompt(sleepWorkflow(30*time.Second, "poll")), tell)
		wantInTime(t, p, f, noticed)
		var attempts []time.Duration
		for _, r := range p.Requests() {
			if r.Path == "/ws" {
				attempts = append(attempts, r.Time.Sub(p.Executions()[0].Started).Round(time.Second))
			}
		}
		// The one that was cut, and five attempts to open another.
		want := "[0s 0s 3s 6s 9s 12s]"
		if got := fmt.Sprint(attempts); got != want {
			t.Errorf("attempts %s after the start, want %s", got, want)
		}
		if !has[PollingOnly](told()) {
			t.Errorf("polling was not told: %#v", told())
		}
	})
}

// After a good connection the first reconnect comes at once, and the run is told
// that the socket is back.
func TestFault_W1_ReconnectsAtOnce(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		tell, told := collect()
		done := p.start(t.Context(), p.prompt(sleepWorkflow(20*time.Second, "poll")), tell)
		pause(t.Context(), 10*time.Second)
		p.cutWires()
		synctest.Wait()
		if n := p.Sockets(); n != 1 {
			t.Errorf("%d sockets are open after the cut, want a new one", n)
		}
		wantInTime(t, p, <-done, 10*time.Millisecond)
		events := told()
		if !has[SocketLost](events) || !has[SocketRegained](events) {
			t.Errorf("the cut was not told: %#v", events)
		}
	})
}

// ComfyUI unregisters the newer of two sockets when the older one closes: the
// client is deaf then. Asking finds the end, each second after long silence.
func TestFault_W2_ForgottenSocket(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		done := p.start(t.Context(), p.prompt(sleepWorkflow(25*time.Second+300*time.Millisecond, "sleep")), nil)
		pause(t.Context(), time.Second)
		// A second socket with our client id comes and goes.
		thief := newStream(p.cfg, p.Client.id, p.Client.log)
		_, tried, err := thief.follow(fixtureID, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-tried
		thief.stop(true)
		wantInTime(t, p, <-done, 1100*time.Millisecond)
		// The deaf socket is replaced, so that the next run may hear again.
		synctest.Wait()
		handshakes := 0
		for _, r := range p.Requests() {
			if r.Path == "/ws" {
				handshakes++
			}
		}
		if handshakes != 3 || p.Sockets() != 1 {
			t.Errorf("%d handshakes, of which one was the thief's, and %d sockets are open; want 3 and 1", handshakes, p.Sockets())
		}
	})
}

// A socket that was forgotten between two prompts costs the next one a moment of
// silence, and no prompt after it.
func TestFault_W2_ForgottenSocketCostsOneRun(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		short := func() time.Duration {
			begun := time.Now()
			<-p.start(t.Context(), p.prompt(sleepWorkflow(100*time.Millisecond, "sleep")), nil)
			synctest.Wait()
			return time.Since(begun)
		}
		short()
		thief := newStream(p.cfg, p.Client.id, p.Client.log)
		_, tried, err := thief.follow(fixtureID, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-tried
		thief.stop(true)
		if first := short(); first < p.cfg.PollSilent {
			t.Errorf("the run on the forgotten socket took %v: it was not forgotten", first)
		}
		if second := short(); second > time.Second {
			t.Errorf("the run after it took %v", second)
		}
	})
}

// The client itself never makes ComfyUI forget it: its old socket is closed on
// both sides before the next one opens.
func TestFault_W2_OldSocketClosesFirst(t *testing.T) {
	var registered atomic.Int32
	c := handled(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/prompt" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		// ComfyUI, too, unregisters a socket before the connection ends.
		defer conn.Close()
		defer registered.Add(-1)
		if n := registered.Add(1); n != 1 {
			t.Errorf("%d sockets are registered", n)
		}
		for err == nil {
			_, _, err = conn.ReadMessage()
		}
	})
	for range 50 {
		var rejected *RejectedError
		if _, err := c.Run(t.Context(), Prompt{ID: fixtureID, Workflow: []byte(`{}`)}, nil); !errors.As(err, &rejected) {
			t.Fatal(err)
		}
		c.Reset()
		if n := registered.Load(); n != 0 {
			t.Errorf("%d sockets are registered after Reset", n)
		}
	}
}

// A socket that stays open and answers pings but brings no more events delays
// the end by no more than the questions are apart.
func TestFault_W3_EventsStop(t *testing.T) {
	for _, length := range []time.Duration{time.Second, 5 * time.Second, 11500 * time.Millisecond, 60*time.Second + 1} {
		t.Run(length.String(), func(t *testing.T) {
			faults := comfytest.Faults{{On: "ws", Do: "silent", After: 4}}
			inBubbles(t, faults, func(t *testing.T, p *peer) {
				most := noticed
				if length > 14*time.Second {
					most = 1100 * time.Millisecond
				}
				wantInTime(t, p, <-p.start(t.Context(), p.prompt(sleepWorkflow(length, "sleep")), nil), most)
			})
		})
	}
}

// A connection that swallows everything is noticed by the missing pong within
// 10 s, and the end of the prompt is seen all the same.
func TestFault_W4_HalfOpen(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		lost := make(chan time.Time, 8)
		done := p.start(t.Context(), p.prompt(sleepWorkflow(30*time.Second, "sleep")), func(e Event) {
			if _, ok := e.(SocketLost); ok {
				lost <- time.Now()
			}
		})
		pause(t.Context(), 7*time.Second)
		p.blackHole()
		cut := time.Now()
		if after := (<-lost).Sub(cut); after > 10*time.Second {
			t.Errorf("the loss was noticed %v after the cut, want at most 10s", after)
		}
		wantInTime(t, p, <-done, noticed)
	})
}

// A refused or slow handshake makes the run ask instead of listen, and says so.
func TestFault_W9_HandshakeRefused(t *testing.T) {
	for _, status := range []int{403, 404, 502} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			inBubbles(t, comfytest.Faults{{On: "ws", Do: "refuse", Status: status}}, func(t *testing.T, p *peer) {
				var lost error
				f := <-p.start(t.Context(), p.prompt(sleepWorkflow(20*time.Second, "poll")), func(e Event) {
					switch e := e.(type) {
					case SocketLost:
						lost = e.Err
					case PollingOnly:
						lost = e.Err
					}
				})
				wantInTime(t, p, f, noticed)
				var refused *HTTPError
				if !errors.As(lost, &refused) || refused.Status != status {
					t.Errorf("the reason told is %v, want the status %d", lost, status)
				}
			})
		})
	}
}

// A handshake that gets no answer holds the submission up by 2 s at most.
func TestFault_W9_HandshakeHangs(t *testing.T) {
	inBubbles(t, comfytest.Faults{{On: "ws", Do: "hang"}}, func(t *testing.T, p *peer) {
		begun := time.Now()
		f := <-p.start(t.Context(), p.prompt(pictureWorkflow), nil)
		wantInTime(t, p, f, noticed)
		if waited := p.Executions()[0].Queued.Sub(begun); waited > dialPatience {
			t.Errorf("the prompt was submitted after %v, want %v", waited, dialPatience)
		}
	})
}

// A socket that nobody uses is closed after a minute, and opened again.
func TestSocketIsClosedWhenIdle(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		for range 2 {
			tell, told := collect()
			f := <-p.start(t.Context(), p.prompt(pictureWorkflow), tell)
			if f.err != nil || !has[Started](told()) {
				t.Fatalf("%v, events %#v", f.err, told())
			}
			if n := p.Sockets(); n != 1 {
				t.Errorf("%d sockets are open after a run, want 1", n)
			}
			pause(t.Context(), idleAfter+2*pingEvery)
			if n := p.Sockets(); n != 0 {
				t.Errorf("%d sockets are open after a minute, want none", n)
			}
		}
	})
}

// After Reset the client speaks to the new process as if it were the first.
func TestResetAfterRestart(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		ctx, end := context.WithCancelCause(t.Context())
		done := p.start(ctx, p.prompt(sleepWorkflow(time.Minute, "poll")), nil)
		p.awaitStart(1)
		p.Kill(9)
		end(errors.New("killed"))
		if f := <-done; f.err == nil || f.err.Error() != "killed" {
			t.Errorf("the run on the dead process returned %v", f.err)
		}
		p.Reset()
		if err := p.Restart(nil); err != nil {
			t.Fatal(err)
		}
		tell, told := collect()
		if _, err := p.Run(t.Context(), p.prompt(pictureWorkflow), tell); err != nil {
			t.Fatal(err)
		}
		if !has[Started](told()) {
			t.Errorf("the run on the new process was deaf: %#v", told())
		}
	})
}

func TestRunAfterClose(t *testing.T) {
	c := New(Config{Addr: "127.0.0.1:1"}, nil)
	c.Close()
	if _, err := c.Run(t.Context(), Prompt{ID: fixtureID}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// A prompt that left something in the history which ComfyUI cannot send ends with an error, and not never.
func TestFault_W3_EventsStopAndHistoryIsBroken(t *testing.T) {
	faults := comfytest.Faults{{On: "ws", Do: "silent"}, {On: "GET /history/*", Do: "answer", Status: 500}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		begun := time.Now()
		_, err := p.Run(t.Context(), p.prompt(pictureWorkflow), nil)
		var answer *HTTPError
		if !errors.As(err, &answer) || answer.Status != 500 {
			t.Errorf("Run = %v, want ComfyUI's answer", err)
		}
		if d := time.Since(begun); d < time.Minute || d > 2*time.Minute {
			t.Errorf("Run returned after %v, want a minute or a little more", d)
		}
	})
}
