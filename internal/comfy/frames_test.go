package comfy

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/gorilla/websocket"
)

// A run whose caller does not return from an event holds up neither ComfyUI nor
// the runs beside it.
func TestFault_W5_SlowConsumer(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		release := make(chan struct{})
		stuck := make(chan struct{})
		first := true
		slow := p.start(t.Context(), p.prompt(samplerWorkflow), func(e Event) {
			if _, ok := e.(Started); ok && first {
				first = false
				close(stuck)
				<-release
			}
		})
		<-stuck
		p.await("the end of the first prompt", func() bool { return !p.Executions()[0].Ended.IsZero() })
		f := <-p.start(t.Context(), p.prompt(pictureWorkflow), nil)
		wantInTime(t, p, f, 10*time.Millisecond)
		close(release)
		if f := <-slow; f.err != nil || len(f.outcome.Outputs) != 1 {
			t.Errorf("the slow run: %+v, %v", f.outcome, f.err)
		}
	})
}

// Frames that are broken, huge or make no sense cost the socket at most, never
// the prompt.
func TestFault_W6_HostileFrames(t *testing.T) {
	for _, fault := range []comfytest.Fault{
		{Do: "garbage", After: 1},
		{Do: "oversize", After: 2, Bytes: 1 << 20, Count: 1},
		{Do: "close", After: 3, Body: "bye"},
	} {
		t.Run(fmt.Sprintf("%s %d", fault.Do, fault.Bytes), func(t *testing.T) {
			fault.On = "ws"
			inBubbles(t, comfytest.Faults{fault}, func(t *testing.T, p *peer) {
				f := <-p.start(t.Context(), p.prompt(samplerWorkflow), nil)
				wantInTime(t, p, f, noticed)
				if len(f.outcome.Outputs) != 1 {
					t.Errorf("outputs %v, want one", f.outcome.Outputs)
				}
			})
		})
	}
}

// What breaks the protocol itself costs the socket, and no memory: the next one
// is opened, and the prompt goes on.
func TestFault_W6_BrokenProtocol(t *testing.T) {
	for name, bytes := range map[string]string{
		"2 GiB announced":       "\x82\x7f\x00\x00\x00\x00\x80\x00\x00\x00",
		"2^63 announced":        "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
		"masked":                "\x81\x81\x00\x00\x00\x00x",
		"unknown opcode":        "\x8b\x01x",
		"reserved bits":         "\xf1\x01x",
		"continuation of none":  "\x80\x01x",
		"fragments, then text":  "\x01\x01x\x81\x01x",
		"bad UTF-8, then a cut": "\x81\x02\xff\xfe\x81\x05x",
		"ping of 126 bytes":     "\x89\x7e\x00\x7e" + strings.Repeat("x", 126),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comfy := comfytest.New(comfytest.Config{Dir: t.TempDir()})
			defer comfy.Close()
			c := handled(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/ws" {
					comfy.ServeHTTP(w, r)
					return
				}
				conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = conn.NetConn().Write([]byte(bytes))
				if strings.HasSuffix(name, "cut") {
					return
				}
				for err == nil { // the client closes it
					_, _, err = conn.ReadMessage()
				}
			})
			c.cfg.PollSilent = 20 * time.Millisecond
			tell, told := collect()
			outcome, err := c.Run(t.Context(), Prompt{ID: fixtureID, Workflow: []byte(sleepWorkflow(100*time.Millisecond, "sleep"))}, tell)
			if err != nil || outcome == nil {
				t.Errorf("outcome %+v, %v", outcome, err)
			}
			if !has[SocketLost](told()) {
				t.Errorf("the socket was kept: %#v", told())
			}
		})
	}
}

// Events of other prompts, doubled ones and ones in the wrong order change
// nothing about the outcome.
func TestFault_W7_ForeignDoubledShuffled(t *testing.T) {
	for _, do := range []string{"foreign", "twice", "shuffle"} {
		t.Run(do, func(t *testing.T) {
			inBubbles(t, comfytest.Faults{{On: "ws", Do: do, After: 1}}, func(t *testing.T, p *peer) {
				tell, told := collect()
				f := <-p.start(t.Context(), p.prompt(pictureWorkflow), tell)
				wantInTime(t, p, f, noticed)
				if len(f.outcome.Outputs) != 1 || len(f.outcome.Warnings) != 0 {
					t.Errorf("outcome %+v, want one output", f.outcome)
				}
				starts := 0
				for _, e := range told() {
					if _, ok := e.(Started); ok {
						starts++
					}
				}
				if starts != 1 {
					t.Errorf("the start was told %d times", starts)
				}
			})
		})
	}
}

// Whatever order the messages of two prompts come in, each run is told only of
// its own nodes, at most one start, and never more than the inbox holds.
func TestFault_W7_AnyOrder(t *testing.T) {
	for seed := range uint64(15) {
		random := rand.New(rand.NewPCG(seed, 7))
		s := newStream(Config{}, "client", nil)
		s.done, s.tried = make(chan struct{}), make(chan struct{}) // as if it ran
		ours, _, _ := s.follow("ours", graph{"1": "A", "2": "SaveImageWebsocket"})
		theirs, _, _ := s.follow("theirs", graph{"8": "A"})
		frames := []string{
			`{"type":"execution_start","data":{"prompt_id":"%s"}}`,
			`{"type":"execution_cached","data":{"prompt_id":"%s","nodes":["%s"]}}`,
			`{"type":"executing","data":{"prompt_id":"%s","node":"%s"}}`,
			`{"type":"progress","data":{"prompt_id":"%s","node":"%s","value":1,"max":2}}`,
			`{"type":"executed","data":{"prompt_id":"%s","node":"%s"}}`,
			`{"type":"executing","data":{"prompt_id":"%s","node":null}}`,
		}
		for range 1000 {
			who := random.IntN(3)
			frame := frames[random.IntN(len(frames))]
			args := []any{[]string{"ours", "theirs", "nobody"}[who], []string{"1", "8", "99"}[who]}
			s.receive(1, []byte(fmt.Sprintf(frame, args[:strings.Count(frame, "%s")]...)))
		}
		for in, node := range map[*inbox]string{ours: "1", theirs: "8"} {
			taken := in.take()
			if len(taken) > inboxLimit {
				t.Fatalf("seed %d: %d messages wait", seed, len(taken))
			}
			r := &run{graph: in.graph, inbox: in, tell: func(e Event) {
				if e, ok := e.(Executing); ok && e.Node != node {
					t.Fatalf("seed %d: %s was told of node %s", seed, in.id, e.Node)
				}
			}}
			for _, m := range taken {
				r.handle(m)
			}
		}
	}
}
