package comfytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/google/go-cmp/cmp"
)

// Facts are what was seen of a real ComfyUI of one version, with the nodes of
// the recordings replaced by those of the simulator.
type facts struct {
	Version string `json:"version"`
	Runs    []struct {
		Scenario string          `json:"scenario"`
		Prompt   json.RawMessage `json:"prompt"`
		Messages []string        `json:"messages"`
		History  *historyFacts   `json:"history"`
	} `json:"runs"`
	Outputs []struct {
		Name      string          `json:"name"`
		Prompt    json.RawMessage `json:"prompt"`
		StatusStr string          `json:"status_str"`
		Outputs   any             `json:"outputs"`
	} `json:"outputs"`
	Answers []struct {
		Scenario   string          `json:"scenario"`
		Status     int             `json:"status"`
		Type       string          `json:"type"`
		Request    json.RawMessage `json:"request"`
		Error      any             `json:"error"`
		ExtraInfo  any             `json:"extra_info"`
		NodeErrors any             `json:"node_errors"`
	} `json:"answers"`
}

type historyFacts struct {
	StatusStr string   `json:"status_str"`
	Completed bool     `json:"completed"`
	Messages  []string `json:"messages"`
	Outputs   any      `json:"outputs"`
	Meta      []string `json:"meta"`
	ExtraData []string `json:"extra_data"`
	Run       []string `json:"run"`
}

// eachVersion runs a test against both generations.
func eachVersion(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) { test(t, version) })
	}
}

func readFacts(t *testing.T, version string) facts {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "facts-"+version+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var f facts
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRunsSendWhatWasRecorded(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		for _, run := range readFacts(t, version).Runs {
			t.Run(run.Scenario, func(t *testing.T) {
				t.Parallel()
				s := comfytest.NewServer(t, comfytest.Config{Version: version})
				c := newClient(t, s.URL).connect("A")
				c.next()
				id := c.prompt(string(run.Prompt))
				var got []string
				for _, m := range c.untilEnd(id) {
					got = append(got, fact(m))
				}
				if diff := cmp.Diff(run.Messages, got); diff != "" {
					t.Errorf("messages (-recorded +got):\n%s", diff)
				}
				if run.History == nil {
					return
				}
				if diff := cmp.Diff(*run.History, c.historyOf(id)); diff != "" {
					t.Errorf("history (-recorded +got):\n%s", diff)
				}
			})
		}
	})
}

func TestOutputsOfEveryKindAreReportedAsRecorded(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		writePNG(t, filepath.Join(s.InputDir(), "example.png"), 48, 32)
		c := newClient(t, s.URL).connect("A")
		for _, o := range readFacts(t, version).Outputs {
			id := c.prompt(string(o.Prompt))
			c.untilEnd(id)
			h := c.historyOf(id)
			if diff := cmp.Diff(o.Outputs, h.Outputs); diff != "" || h.StatusStr != o.StatusStr {
				t.Errorf("%s: status %s, want %s, outputs (-recorded +got):\n%s", o.Name, h.StatusStr, o.StatusStr, diff)
			}
		}
	})
}

func TestBadPromptsAreAnsweredAsRecorded(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		s := comfytest.NewServer(t, comfytest.Config{Version: version, Models: map[string][]string{}})
		c := newClient(t, s.URL)
		for _, a := range readFacts(t, version).Answers {
			body := []byte(a.Request)
			var text string
			if json.Unmarshal(body, &text) == nil {
				body = []byte(text)
			}
			res, err := http.Post(c.url+"/prompt", "application/json", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Error      map[string]any            `json:"error"`
				NodeErrors map[string]map[string]any `json:"node_errors"`
			}
			decoded := json.NewDecoder(res.Body).Decode(&got)
			res.Body.Close()
			if res.StatusCode != a.Status || res.Header.Get("Content-Type") != a.Type {
				t.Errorf("%s: got %d %q, want %d %q", a.Scenario, res.StatusCode, res.Header.Get("Content-Type"), a.Status, a.Type)
				continue
			}
			if a.Status == http.StatusInternalServerError {
				continue
			}
			if decoded != nil {
				t.Errorf("%s: %v", a.Scenario, decoded)
			}
			if diff := cmp.Diff(a.Error, withoutExtra(got.Error)); diff != "" {
				t.Errorf("%s: error (-recorded +got):\n%s", a.Scenario, diff)
			}
			if diff := cmp.Diff(a.NodeErrors, comparable(got.NodeErrors)); diff != "" {
				t.Errorf("%s: node_errors (-recorded +got):\n%s", a.Scenario, diff)
			}
		}
	})
}

func withoutExtra(e map[string]any) any {
	if e == nil {
		return nil
	}
	return map[string]any{"type": e["type"], "message": e["message"], "details": e["details"]}
}

// comparable brings node errors into the form of the facts: errors sorted,
// tracebacks and input configurations left out.
func comparable(nodes map[string]map[string]any) any {
	all := make(map[string]any)
	for id, n := range nodes {
		errs, _ := n["errors"].([]any)
		for _, e := range errs {
			info, _ := e.(map[string]any)["extra_info"].(map[string]any)
			delete(info, "traceback")
			delete(info, "input_config")
		}
		slices.SortFunc(errs, func(a, b any) int {
			x, _ := json.Marshal(a)
			y, _ := json.Marshal(b)
			return bytes.Compare(x, y)
		})
		all[id] = map[string]any{"errors": errs, "dependent_outputs": n["dependent_outputs"], "class_type": n["class_type"]}
	}
	return all
}

var (
	tempName = regexp.MustCompile(`ComfyUI_temp_[a-z]{5}`)
	meshName = regexp.MustCompile(`(preview3d_(?:advanced_)?)[0-9a-f]{32}`)
)

// steady replaces what is random in names.
func steady(s string) string {
	return meshName.ReplaceAllString(tempName.ReplaceAllString(s, "ComfyUI_temp_?"), "${1}?")
}

// historyOf reads a history entry in the form of the facts.
func (c *client) historyOf(id string) historyFacts {
	c.t.Helper()
	_, text := c.do("GET", "/history/"+id, nil)
	var all map[string]struct {
		Prompt  []any `json:"prompt"`
		Outputs any   `json:"outputs"`
		Status  struct {
			StatusStr string  `json:"status_str"`
			Completed bool    `json:"completed"`
			Messages  [][]any `json:"messages"`
		} `json:"status"`
		Meta map[string]any `json:"meta"`
	}
	text = bareNaN.ReplaceAllString(steady(text), `"<literal NaN on the wire>"`)
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		c.t.Fatalf("history of %s: %v in %s", id, err, text)
	}
	e := all[id]
	if len(e.Prompt) != 5 {
		c.t.Fatalf("history of %s is %s", id, text)
	}
	h := historyFacts{StatusStr: e.Status.StatusStr, Completed: e.Status.Completed, Outputs: e.Outputs,
		Messages: []string{}, Meta: keysOf(e.Meta), ExtraData: keysOf(e.Prompt[3].(map[string]any)), Run: []string{}}
	for _, m := range e.Status.Messages {
		h.Messages = append(h.Messages, m[0].(string))
	}
	for _, id := range e.Prompt[4].([]any) {
		h.Run = append(h.Run, id.(string))
	}
	slices.Sort(h.Run)
	return h
}

func keysOf(m map[string]any) []string {
	keys := []string{}
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// fact is a message in the form of the facts: its type, its keys and what of
// its values is the same in every run.
func fact(m message) string {
	line := m.Type + " " + strings.Join(keysOf(m.Data), ",")
	switch m.Type {
	case "status":
		info := m.Data["status"].(map[string]any)["exec_info"].(map[string]any)
		return fmt.Sprintf("%s queue=%v", line, info["queue_remaining"])
	case "progress_state":
		nodes := m.Data["nodes"].(map[string]any)
		var shape string
		for _, id := range keysOf(nodes) {
			n := nodes[id].(map[string]any)
			line += fmt.Sprintf(" %s=%v:%v/%v", id, n["state"], n["value"], n["max"])
			if shape == "" {
				shape = strings.Join(keysOf(n), ",")
			}
		}
		return line + " " + shape
	}
	for _, key := range []string{"node", "value", "max", "nodes", "node_id", "exception_type", "exception_message", "executed", "output"} {
		val, ok := m.Data[key]
		if !ok {
			continue
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(val)
		text := strings.ReplaceAll(steady(strings.TrimSpace(b.String())), `"NaN"`, `"<literal NaN on the wire>"`)
		line += fmt.Sprintf(" %s=%s", key, text)
	}
	return line
}

func writePNG(t testing.TB, path string, w, h int) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
