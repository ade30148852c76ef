package comfy

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gorilla/websocket"
)

func TestRun(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		prompt := p.prompt(pictureWorkflow)
		tell, told := collect()
		outcome, err := p.Run(t.Context(), prompt, tell)
		if err != nil {
			t.Fatal(err)
		}
		want := []Output{{Node: "2", Kind: "images", Filename: "one_00001_.png", Subfolder: "job", Type: "output"}}
		if diff := cmp.Diff(want, outcome.Outputs); diff != "" {
			t.Errorf("outputs (-want +got):\n%s", diff)
		}
		if got := readAll(t, p.Client, outcome.Outputs[0]); !bytes.Equal(got, readFile(t, filepath.Join(p.OutputDir(), "job/one_00001_.png"))) {
			t.Error("the file viewed is not the file written")
		}
		events := []Event{Queued{Ahead: -1}, Started{}, Cached{}, Executing{Node: "1"}, Executing{Node: "2"}, Executed{Node: "2"}, Finished{}}
		if diff := cmp.Diff(events, told(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if len(outcome.Warnings) != 0 || len(outcome.Frames) != 0 {
			t.Errorf("warnings %q and %d frames, want none", outcome.Warnings, len(outcome.Frames))
		}
		execution := p.Executions()[0]
		if execution.PromptID != prompt.ID || execution.ClientID != p.Client.id {
			t.Errorf("executed as %s of %s, want %s of %s", execution.PromptID, execution.ClientID, prompt.ID, p.Client.id)
		}
		if err := p.Forget(t.Context(), prompt.ID); err != nil || p.HistorySize() != 0 {
			t.Errorf("%d history entries are left after Forget: %v", p.HistorySize(), err)
		}
	})
}

func TestRunTellsProgressAndPreviews(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		tell, told := collect()
		outcome, err := p.Run(t.Context(), p.prompt(samplerWorkflow), tell)
		if err != nil {
			t.Fatal(err)
		}
		var last Progress
		preview := false
		for _, e := range told() {
			switch e := e.(type) {
			case Progress:
				last = e
			case Preview:
				preview = e.Node == "5" && strings.HasPrefix(e.MIME, "image/") && len(e.Data) > 0
			}
		}
		if want := (Progress{Node: "5", Value: 4, Max: 4}); last != want {
			t.Errorf("last progress %+v, want %+v", last, want)
		}
		if !preview {
			t.Error("no preview of node 5 was told")
		}
		if outcome.NodeTimes["5"] <= 0 {
			t.Errorf("node times %v lack that of node 5", outcome.NodeTimes)
		}
	})
}

func TestRunReturnsFramesAsOutputs(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		tell, told := collect()
		outcome, err := p.Run(t.Context(), p.prompt(socketWorkflow), tell)
		if err != nil {
			t.Fatal(err)
		}
		if len(outcome.Frames) != 2 || len(outcome.Warnings) != 0 {
			t.Fatalf("%d frames and warnings %q, want 2 frames", len(outcome.Frames), outcome.Warnings)
		}
		for _, f := range outcome.Frames {
			if f.Node != "2" || f.MIME != "image/png" || !bytes.HasPrefix(f.Data, []byte("\x89PNG")) {
				t.Errorf("frame of node %s, %s, %.8q; want a PNG of node 2", f.Node, f.MIME, f.Data)
			}
		}
		if has[Preview](told()) {
			t.Error("an output was told as a preview")
		}
	})
}

func TestRunOfAFailingNode(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		prompt := p.prompt(`{"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":1,"color":1}},
			"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"before"}},
			"3":{"class_type":"SimRaise","inputs":{"message":"boom","exception_type":"KeyError","after":["1",0]}}}`)
		prompt.ExtraData = map[string]any{"api_key_comfy_org": "canary"}
		outcome, err := p.Run(t.Context(), prompt, nil)
		var failure *NodeFailure
		if !errors.As(err, &failure) {
			t.Fatalf("got %v, want a NodeFailure", err)
		}
		if failure.Node != "3" || failure.Class != "SimRaise" || failure.ExceptionType != "KeyError" || failure.Message != "boom" {
			t.Errorf("got %+v", failure)
		}
		if outcome == nil {
			t.Fatal("there is no outcome although the history has the prompt")
		}
		if text := failure.Error() + strings.Join(failure.Traceback, ""); strings.Contains(text, "canary") {
			t.Errorf("the key is told: %s", text)
		}
	})
}

// A blocked node announces an error in the words of a failed one, while the
// prompt goes on and succeeds. It ends up as a warning.
func TestRunOfABlockedNode(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		outcome, err := p.Run(t.Context(), p.prompt(`{"1":{"class_type":"SimBlock","inputs":{"message":"not today"}},
			"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"blocked"}}}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(outcome.Warnings) != 1 || !strings.Contains(outcome.Warnings[0], "not today") {
			t.Errorf("warnings %q, want one that tells the reason", outcome.Warnings)
		}
	})
}

func TestRunReturnsValuesWithNaN(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		outcome, err := p.Run(t.Context(), p.prompt(`{"1":{"class_type":"SimNaN","inputs":{}},"2":{"class_type":"SimText","inputs":{"text":"a \u00e9"}}}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(outcome.Values["1"]), `{"val":[null]}`; got != want {
			t.Errorf("value of node 1: %s, want %s", got, want)
		}
		if w := outcome.Warnings; len(w) != 1 || !strings.Contains(w[0], "NaN") {
			t.Errorf("warnings %q, want one about NaN", w)
		}
		if got := string(outcome.Values["2"]); got != `{"text":["a \u00e9"]}` && got != `{"text":["a é"]}` {
			t.Errorf("value of node 2: %s", got)
		}
	})
}

func TestRunTellsCachedNodes(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		for range 2 {
			outcome, err := p.Run(t.Context(), p.prompt(pictureWorkflow), nil)
			if err != nil {
				t.Fatal(err)
			}
			if cached := len(outcome.CachedNodes) > 0; cached != (p.next == 2) {
				t.Errorf("run %d: cached nodes %q", p.next, outcome.CachedNodes)
			}
		}
		if err := p.Free(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Two prompts may be under way on one client: each run gets its own events and
// outcome, and the second learns its place in the queue.
func TestRunTwoAtOnce(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		tell, told := collect()
		first, second := p.prompt(sleepWorkflow(5*time.Second, "poll")), p.prompt(pictureWorkflow)
		a := p.start(t.Context(), first, nil)
		p.awaitStart(1)
		b := p.start(t.Context(), second, tell)
		one, two := <-a, <-b
		if one.err != nil || two.err != nil {
			t.Fatal(one.err, two.err)
		}
		if len(one.outcome.Outputs) != 0 || len(two.outcome.Outputs) != 1 {
			t.Errorf("outputs %v and %v, want none and one", one.outcome.Outputs, two.outcome.Outputs)
		}
		if !slices.Contains(told(), Event(Queued{Ahead: 1})) {
			t.Errorf("the second run was not told its place: %#v", told())
		}
		for _, e := range told() {
			if _, ok := e.(Progress); ok {
				t.Errorf("the second run was told %#v of the first", e)
			}
		}
		if n := p.Sockets(); n != 1 {
			t.Errorf("%d sockets are open, want one for both", n)
		}
	})
}

func TestRunReturnsTheCauseWhenTheContextEnds(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		cause := errors.New("the gate closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		prompt := p.prompt(sleepWorkflow(time.Second, "poll"))
		done := p.start(ctx, prompt, nil)
		p.awaitStart(1)
		cancel(cause)
		canceled := time.Now()
		f := <-done
		if f.err != cause || f.outcome != nil {
			t.Errorf("got %v, %v; want the cause alone", f.outcome, f.err)
		}
		if took := f.at.Sub(canceled); took > 0 {
			t.Errorf("it took %v", took)
		}
		if n := p.Interrupts(); n != 0 {
			t.Errorf("the prompt was interrupted %d times", n)
		}
	})
}

func TestRunRefusesOddIDs(t *testing.T) {
	c := New(Config{Addr: "127.0.0.1:1"}, nil)
	for _, id := range []string{"", "job-1", "7F0C1D7E-6A3B-5F0E-9D51-0B6A7C2F4E10", "7f0c1d7e6a3b5f0e9d510b6a7c2f4e10", "{7f0c1d7e-6a3b-5f0e-9d51-0b6a7c2f4e10}"} {
		if _, err := c.Run(t.Context(), Prompt{ID: id}, nil); err == nil || !strings.Contains(err.Error(), "UUID") {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

func TestPromptID(t *testing.T) {
	if got, want := PromptID("job", 1), "75a274f2-b9a2-527a-9449-ef5c8faff550"; got != want {
		t.Errorf("PromptID(job, 1) = %s, want %s: ids must not change from release to release", got, want)
	}
	ids := map[string]bool{}
	for _, job := range []string{"", "a", "b", "1/a", "2/1/a"} {
		for attempt := range 3 {
			id := PromptID(job, attempt)
			if ids[id] || id != PromptID(job, attempt) || id != strings.ToLower(id) || len(id) != 36 {
				t.Errorf("PromptID(%q, %d) = %s", job, attempt, id)
			}
			ids[id] = true
		}
	}
}

// Images that are still on their way when the history is found by asking are
// waited for.
func TestRunWaitsForFrames(t *testing.T) {
	submitted := make(chan string, 1)
	c := handled(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ws":
			conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			pause(t.Context(), 100*time.Millisecond) // history is read meanwhile
			for _, frame := range [][]byte{binaryFrame(1, 2, png), []byte(`{"type":"execution_success","data":{"prompt_id":"` + <-submitted + `"}}`)} {
				kind := websocket.BinaryMessage
				if frame[0] == '{' {
					kind = websocket.TextMessage
				} else if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"executing","data":{"node":"2","prompt_id":"`+fixtureID+`"}}`)); err != nil {
					t.Error(err)
				}
				if err := conn.WriteMessage(kind, frame); err != nil {
					t.Error(err)
				}
			}
			for err == nil {
				_, _, err = conn.ReadMessage()
			}
		case "/prompt":
			submitted <- fixtureID
			_, _ = w.Write([]byte(`{"prompt_id":"` + fixtureID + `","node_errors":{}}`))
		default:
			_, _ = w.Write([]byte(`{"` + fixtureID + `":{"outputs":{},"status":{"status_str":"success","messages":[]}}}`))
		}
	})
	c.cfg.PollSilent = time.Millisecond
	outcome, err := c.Run(t.Context(), Prompt{ID: fixtureID, Workflow: []byte(socketWorkflow)}, nil)
	if err != nil || len(outcome.Frames) != 1 || outcome.Frames[0].Node != "2" {
		t.Errorf("outcome %+v, %v; want one frame of node 2", outcome, err)
	}
}

// Images that could not come are missed in a warning.
func TestRunMissesFrames(t *testing.T) {
	inBubbles(t, comfytest.Faults{{On: "ws", Do: "refuse"}}, func(t *testing.T, p *peer) {
		f := <-p.start(t.Context(), p.prompt(socketWorkflow), nil)
		if f.err != nil || len(f.outcome.Warnings) != 1 || !strings.Contains(f.outcome.Warnings[0], "node 2 (SaveImageWebsocket) sent no image") {
			t.Errorf("outcome %+v, %v; want a warning of node 2", f.outcome, f.err)
		}
	})
}

func TestTrace(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		var mu sync.Mutex
		var seen []string
		p.Client.Close()
		c := New(Config{Addr: p.Addr, Trace: func(direction string, frame []byte) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, direction+" "+string(frame))
		}}, nil)
		defer c.Close()
		if _, err := c.Run(t.Context(), p.prompt(pictureWorkflow), nil); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[0] != "sent "+string(featureFlags) || !strings.HasPrefix(seen[1], `received {"type": "status"`) {
			t.Errorf("seen %q and %q first", seen[0], seen[1])
		}
	})
}
