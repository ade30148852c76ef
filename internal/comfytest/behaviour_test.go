package comfytest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

const oneImage = `{"1":{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":7}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"c"}}}`

// A cached prompt names its old file again, even when that is gone, and the
// number of a deleted file is given to the next one.
func TestCachedPromptWritesNothingAndNamesTheOldFile(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		c := newClient(t, s.URL).connect("A")
		first := c.prompt(oneImage)
		c.untilEnd(first)
		file := filepath.Join(s.OutputDir(), "c_00001_.png")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		second := c.prompt(oneImage)
		got := types(c.untilEnd(second))
		want := []string{"status", "status", "execution_start", "execution_cached", "executed", "progress_state", "execution_success", "status", "executing"}
		if !slices.Equal(got, want) {
			t.Errorf("messages of a cached prompt: %v, want %v", got, want)
		}
		if e := s.Executions()[1]; len(e.Files) != 0 || len(e.Nodes) != 0 || !slices.Equal(e.Cached, []string{"1", "2"}) {
			t.Errorf("cached execution: files %v, nodes %v, cached %v", e.Files, e.Nodes, e.Cached)
		}
		if status, _ := c.do("GET", "/view?filename=c_00001_.png", nil); status != http.StatusNotFound {
			t.Errorf("view of a deleted file: %d", status)
		}
		other := c.prompt(strings.Replace(oneImage, `"color":7`, `"color":8`, 1))
		c.untilEnd(other)
		if e := s.Executions()[2]; filepath.Base(e.Files[0].Path) != "c_00001_.png" {
			t.Errorf("the freed number was not used again: %s", e.Files[0].Path)
		}
		again := c.prompt(oneImage)
		c.untilEnd(again)
		if e := s.Executions()[3]; len(e.Files) != 1 {
			t.Errorf("the cache kept more than the latest prompt: files %v", e.Files)
		}
	})
}

func TestCacheCanBeOffAndCanOutliveAPrompt(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{NoCache: true})
	c := newClient(t, s.URL).connect("A")
	c.untilEnd(c.prompt(oneImage))
	c.untilEnd(c.prompt(oneImage))
	if e := s.Executions()[1]; len(e.Files) != 1 || filepath.Base(e.Files[0].Path) != "c_00002_.png" {
		t.Errorf("without a cache the second run wrote %v", e.Files)
	}

	s = comfytest.NewServer(t, comfytest.Config{CacheLRU: 10})
	c = newClient(t, s.URL).connect("A")
	c.untilEnd(c.prompt(oneImage))
	c.untilEnd(c.prompt(strings.Replace(oneImage, `"color":7`, `"color":8`, 1)))
	c.untilEnd(c.prompt(oneImage))
	if e := s.Executions()[2]; len(e.Files) != 0 {
		t.Errorf("with an LRU cache the first prompt ran anew: %v", e.Files)
	}
	c.do("POST", "/free", `{"free_memory":true}`)
	c.untilEnd(c.prompt(oneImage))
	if e := s.Executions()[3]; len(e.Files) != 1 {
		t.Errorf("after /free the prompt was still cached")
	}
}

func TestInterrupt(t *testing.T) {
	sleep := func(mode string) string {
		return `{"1":{"class_type":"SimSleep","inputs":{"seconds":1,"steps":100,"mode":"` + mode + `"}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"i"}}}`
	}
	last := `{"1":{"class_type":"SimSleep","inputs":{"seconds":1,"mode":"sleep"}}}`
	tests := []struct {
		name, version, workflow string
		at, want                string // node of the interruption
	}{
		{"polling node stops at once", comfytest.V0364, sleep("poll"), "1", comfytest.Interrupted},
		{"deaf node runs to its end", comfytest.V0364, sleep("sleep"), "2", comfytest.Interrupted},
		{"async node runs to its end", comfytest.V0330, sleep("async"), "2", comfytest.Interrupted},
		{"last node succeeds", comfytest.V0364, last, "", comfytest.Success},
		{"swallowed in the older generation", comfytest.V0364, sleep("swallow"), "", comfytest.Success},
		{"not swallowed in the newer one", comfytest.V0330, sleep("swallow"), "1", comfytest.Interrupted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := comfytest.NewServer(t, comfytest.Config{Version: tt.version})
			c := newClient(t, s.URL).connect("A")
			c.do("POST", "/interrupt", nil) // idle: the flag is cleared by the next run
			id := c.prompt(tt.workflow)
			await(t, s, func() bool { all := s.Executions(); return len(all) == 1 && len(all[0].Nodes) == 1 })
			c.do("POST", "/interrupt", map[string]string{"prompt_id": "another"})
			c.do("POST", "/interrupt", map[string]string{"prompt_id": id})
			all := c.untilEnd(id)
			i := slices.IndexFunc(all, func(m message) bool { return m.Type == "execution_interrupted" })
			if at := ""; i >= 0 {
				at, _ = all[i].Data["node_id"].(string)
				if at != tt.at {
					t.Errorf("interrupted at node %q, want %q", at, tt.at)
				}
			}
			if got := s.Executions()[0].Outcome; got != tt.want || i < 0 != (tt.at == "") {
				t.Errorf("outcome %s with messages %v, want %s", got, types(all), tt.want)
			}
		})
	}
}

func TestQueueDeleteLeavesNoTrace(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL).connect("A")
	running := c.prompt(`{"1":{"class_type":"SimSleep","inputs":{"seconds":60,"mode":"poll","steps":6000}}}`)
	waiting := c.prompt(oneImage)
	c.until(func(m message) bool { return m.Type == "executing" })
	q := c.get("/queue")
	if r, p := q["queue_running"].([]any), q["queue_pending"].([]any); len(r) != 1 || len(p) != 1 || p[0].([]any)[1] != waiting {
		t.Fatalf("queue %v", q)
	}
	if status, text := c.do("POST", "/queue", map[string][]string{"delete": {waiting, running}}); status != 200 || text != "" {
		t.Errorf("delete: %d %q", status, text)
	}
	if q := c.get("/queue"); len(q["queue_pending"].([]any)) != 0 || len(q["queue_running"].([]any)) != 1 {
		t.Errorf("queue after delete %v", q)
	}
	c.do("POST", "/interrupt", "{}")
	c.untilEnd(running)
	for _, id := range []string{waiting, "unknown"} {
		if h := c.get("/history/" + id); len(h) != 0 {
			t.Errorf("history of %s: %v", id, h)
		}
	}
	if n := len(s.Executions()); n != 1 || s.Interrupts() != 1 {
		t.Errorf("%d executions, %d interrupts", n, s.Interrupts())
	}
}

func TestFrontAndNumberOrderTheQueue(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL).connect("A")
	first := c.prompt(`{"1":{"class_type":"SimSleep","inputs":{"seconds":0.2,"mode":"sleep"}}}`)
	c.until(func(m message) bool { return m.Type == "executing" })
	image := func(color string) string { return strings.Replace(oneImage, `"color":7`, `"color":`+color, 1) }
	b := c.prompt(image("1"))
	front := c.prompt(image("2"), `,"front":true`)
	low := c.prompt(image("3"), `,"number":-50.5`)
	await(t, s, func() bool { e := s.Executions(); return len(e) == 4 && e[3].Outcome == comfytest.Success })
	var got []string
	for _, e := range s.Executions() {
		got = append(got, e.PromptID)
	}
	if want := []string{first, low, front, b}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

// Two pending items of one number and one id cannot be compared: the answer
// is a 500, and both run.
func TestEqualNumberAndIDAnswer500ButRun(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL).connect("A")
	c.prompt(`{"1":{"class_type":"SimSleep","inputs":{"seconds":0.2,"mode":"sleep"}}}`)
	c.until(func(m message) bool { return m.Type == "executing" })
	body := `{"prompt":` + oneImage + `,"prompt_id":"dup","number":5}`
	if status, text := c.do("POST", "/prompt", body); status != 200 || !strings.Contains(text, `"number": 5.0`) {
		t.Errorf("first: %d %s", status, text)
	}
	if status, _ := c.do("POST", "/prompt", body); status != 500 {
		t.Errorf("second: %d", status)
	}
	await(t, s, func() bool { e := s.Executions(); return len(e) == 3 && e[2].Outcome == comfytest.Success })
	if s.HistorySize() != 2 {
		t.Errorf("history holds %d entries, want 2", s.HistorySize())
	}
}

func TestPromptIDs(t *testing.T) {
	tests := []struct {
		id         string
		old, young string // the id that is answered, "" for a refusal, * for a fresh one
	}{
		{`"job-1"`, "job-1", ""},
		{`123`, "123", ""},
		{`null`, "None", "*"},
		{`""`, "", ""},
		{`"F24F00A1-C42E-4381-A8EF-6C561C0B236B"`, "F24F00A1-C42E-4381-A8EF-6C561C0B236B", ""},
		{`"{22a3179a-990c-455b-85d9-e531a8d9f5f5}"`, "{22a3179a-990c-455b-85d9-e531a8d9f5f5}", ""},
		{`"4cd605e7-afa2-5360-b5b9-c5e9fb5c76f4"`, "4cd605e7-afa2-5360-b5b9-c5e9fb5c76f4", "4cd605e7-afa2-5360-b5b9-c5e9fb5c76f4"},
	}
	eachVersion(t, func(t *testing.T, version string) {
		c := newClient(t, comfytest.NewServer(t, comfytest.Config{Version: version}).URL)
		for _, tt := range tests {
			want, refused := tt.old, false
			if version == comfytest.V0330 {
				want, refused = tt.young, tt.young == ""
			}
			status, text := c.do("POST", "/prompt", `{"prompt":`+oneImage+`,"prompt_id":`+tt.id+`}`)
			switch {
			case refused:
				if status != 400 || !strings.Contains(text, `"type": "invalid_prompt_id"`) {
					t.Errorf("%s: %d %s, want a refusal", tt.id, status, text)
				}
			case status != 200 || want != "*" && !strings.Contains(text, `{"prompt_id": "`+want+`"`):
				t.Errorf("%s: %d %s, want id %q", tt.id, status, text, want)
			}
		}
	})
}

// After sys.exit in a node everything looks well, and nothing runs any more.
func TestZombieWorkerAcceptsAndNeverRuns(t *testing.T) {
	for _, how := range []string{"sys_exit", "keyboardinterrupt"} {
		s := comfytest.NewServer(t, comfytest.Config{})
		c := newClient(t, s.URL).connect("A")
		id := c.prompt(`{"1":{"class_type":"SimDie","inputs":{"how":"` + how + `"}}}`)
		await(t, s, func() bool { e := s.Executions(); return len(e) == 1 && e[0].Outcome == comfytest.Lost })
		c.prompt(oneImage)
		if got := c.get("/prompt")["exec_info"].(map[string]any)["queue_remaining"]; got != 2.0 {
			t.Errorf("%s: queue_remaining %v, want 2", how, got)
		}
		if h := c.get("/history/" + id); len(h) != 0 {
			t.Errorf("%s: history %v", how, h)
		}
	}
}

func TestInterruptInIsChangedEndsTheNewerWorker(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		c := newClient(t, s.URL).connect("A")
		c.prompt(`{"1":{"class_type":"SimSlowChange","inputs":{"seconds":20}}}`)
		c.until(func(m message) bool { return m.Type == "execution_start" })
		c.do("POST", "/interrupt", nil)
		await(t, s, func() bool { return s.Executions()[0].Outcome != comfytest.Running })
		want := comfytest.Success
		if version == comfytest.V0330 {
			want = comfytest.Lost
		}
		if got := s.Executions()[0].Outcome; got != want {
			t.Errorf("outcome %s, want %s", got, want)
		}
	})
}

func TestProgressIsThrottledInTheNewerGeneration(t *testing.T) {
	workflow := `{"1":{"class_type":"SimSleep","inputs":{"seconds":0.05,"mode":"poll","steps":50}}}`
	count := func(version string) int {
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		c := newClient(t, s.URL).connect("A")
		n := 0
		for _, m := range c.untilEnd(c.prompt(workflow)) {
			if m.Type == "progress" {
				n++
			}
		}
		return n
	}
	if n := count(comfytest.V0364); n != 50 {
		t.Errorf("0.3.64 sent %d of 50 progress messages", n)
	}
	if n := count(comfytest.V0330); n < 2 || n > 25 {
		t.Errorf("0.33.0 sent %d of 50 progress messages in a short time", n)
	}
}

func TestBlockedNodeSendsAnErrorAndSucceeds(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL).connect("A")
	id := c.prompt(`{"1":{"class_type":"SimBlock","inputs":{"message":"no input for you"}},"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"b"}}}`)
	all := c.untilEnd(id)
	i := slices.IndexFunc(all, func(m message) bool { return m.Type == "execution_error" })
	if i < 0 {
		t.Fatalf("no execution_error in %v", types(all))
	}
	if d := all[i].Data; d["exception_type"] != "ExecutionBlocked" || d["timestamp"] != nil {
		t.Errorf("execution_error %v", d)
	}
	if _, isList := all[i].Data["current_inputs"].([]any); !isList {
		t.Errorf("current_inputs is %T, want a list", all[i].Data["current_inputs"])
	}
	if h := c.historyOf(id); h.StatusStr != "success" || len(h.Messages) != 3 {
		t.Errorf("history %v", h)
	}
}

// A failed prompt of the older generation lists cached outputs that it never
// reached; the newer one does not.
func TestFailedPromptListsCachedOutputs(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		c := newClient(t, s.URL).connect("A")
		c.untilEnd(c.prompt(oneImage))
		id := c.prompt(`{"0":{"class_type":"SimRaise","inputs":{}},` + oneImage[1:])
		c.untilEnd(id)
		want := 1
		if version == comfytest.V0330 {
			want = 0
		}
		if got := len(c.historyOf(id).Outputs.(map[string]any)); got != want {
			t.Errorf("%d outputs in the history, want %d", got, want)
		}
	})
}

func TestLateHistoryIsStillBeforeTheEndMarker(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{Faults: comfytest.Faults{{On: "prompt", Do: "late-history", Delay: 150 * time.Millisecond}}})
	c := newClient(t, s.URL).connect("A")
	id := c.prompt(oneImage)
	c.until(func(m message) bool { return m.Type == "execution_success" })
	if h := c.get("/history/" + id); len(h) != 0 {
		t.Errorf("history at execution_success: %v", h)
	}
	c.untilEnd(id)
	if h := c.get("/history/" + id); len(h) != 1 {
		t.Errorf("history at the end marker: %v", h)
	}
}
