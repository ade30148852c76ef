package nodeinfo_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/nodeinfo"
)

// A comfy is a simulated ComfyUI and what it says of its nodes.
type comfy struct {
	*comfytest.Comfy
	info *nodeinfo.Info
	wire map[string]wireClass
}

// wireClass is what tests want of a description.
type wireClass struct {
	Input  map[string]map[string][]any `json:"input"`
	Output []string                    `json:"output"`
}

// inBothGenerations runs a test against both.
func inBothGenerations(t *testing.T, test func(t *testing.T, c *comfy)) {
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) {
			c := &comfy{Comfy: comfytest.New(comfytest.Config{Version: version, Dir: t.TempDir(), StepDelay: -1, NodeDelay: -1})}
			t.Cleanup(c.Close)
			answer := c.ask("GET", "/object_info", "")
			info, err := nodeinfo.Parse(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(c.ask("GET", "/object_info", "").Body.Bytes(), &c.wire); err != nil {
				t.Fatal(err)
			}
			if c.info = info; info.Len() != len(c.wire) || info.Len() < 20 {
				t.Fatalf("%d classes, want %d", info.Len(), len(c.wire))
			}
			test(t, c)
		})
	}
}

func (c *comfy) ask(method, path, body string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
	return answer
}

// takes tells whether ComfyUI accepts a workflow whole.
func (c *comfy) takes(t rapid.TB, workflow map[string]node) bool {
	body, err := json.Marshal(map[string]any{"prompt": workflow})
	if err != nil {
		t.Fatal(err)
	}
	answer := c.ask("POST", "/prompt", string(body))
	var accepted struct {
		NodeErrors map[string]any `json:"node_errors"`
	}
	if answer.Code == http.StatusOK && json.Unmarshal(answer.Body.Bytes(), &accepted) != nil {
		t.Fatalf("answer %s", answer.Body)
	}
	return answer.Code == http.StatusOK && len(accepted.NodeErrors) == 0
}

func (c *comfy) check(t rapid.TB, workflow map[string]node) []nodeinfo.Fault {
	nodes := make(map[string]nodeinfo.Node)
	for id, n := range workflow {
		inputs := make(map[string]json.RawMessage)
		for name, value := range n.Inputs {
			raw, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			inputs[name] = raw
		}
		nodes[id] = nodeinfo.Node{Class: n.Class, Inputs: inputs}
	}
	return c.info.Check(nodes)
}

type node struct {
	Class  string         `json:"class_type"`
	Inputs map[string]any `json:"inputs"`
}

// A workflow of any nodes with the defaults of their own description has no fault.
func TestDefaultsAreNeverRefused(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, c *comfy) {
		for _, class := range slices.Sorted(maps.Keys(c.wire)) {
			n := node{class, map[string]any{}}
			for _, inputs := range c.wire[class].Input {
				for name, config := range inputs {
					if value, ok := first(config); ok {
						n.Inputs[name] = value
					}
				}
			}
			workflow := map[string]node{"1": n, "2": {"PreviewAny", map[string]any{"source": []any{"1", 0}}}}
			if faults := c.check(t, workflow); len(faults) > 0 {
				t.Errorf("%s: %+v", class, faults)
			}
		}
	})
}

// first is the default of an input, or the first value of its list.
func first(config []any) (any, bool) {
	if list, ok := config[0].([]any); ok {
		if len(list) == 0 {
			return nil, false
		}
		return list[0], true
	}
	if len(config) < 2 {
		return nil, false
	}
	value, ok := config[1].(map[string]any)["default"]
	return value, ok
}

// Whatever the check refuses, ComfyUI refuses. The workflows are drawn at random,
// most of them good but for one or two values, links or classes.
func TestNothingIsRefusedThatComfyUITakes(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, c *comfy) {
		refused, taken := 0, 0
		rapid.Check(t, func(t *rapid.T) {
			workflow := c.draw(t)
			takes, faults := c.takes(t, workflow), c.check(t, workflow)
			if takes && len(faults) > 0 {
				t.Fatalf("ComfyUI takes %+v, the check does not: %+v", workflow, faults)
			}
			if takes {
				taken++
			}
			if len(faults) > 0 {
				refused++
			}
		})
		if refused == 0 || taken == 0 {
			t.Errorf("%d workflows refused, %d taken: nothing was compared", refused, taken)
		}
		t.Logf("%d workflows were refused by the check, %d taken by ComfyUI", refused, taken)
	})
}

// draw draws a workflow of loaders, nodes behind them and outputs, now and then
// with something wrong. Nodes of the simulator's own would end the process.
func (c *comfy) draw(t *rapid.T) map[string]node {
	var classes []string
	for name := range c.wire {
		if !strings.HasPrefix(name, "Sim") {
			classes = append(classes, name)
		}
	}
	slices.Sort(classes)
	classes = append(classes, "CheckpointLoaderSimple", "VAELoader", "VAELoader", "NoSuchNode")
	workflow := make(map[string]node)
	for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
		n := node{rapid.SampledFrom(classes).Draw(t, "class"), map[string]any{}}
		required := c.wire[n.Class].Input["required"]
		for _, name := range slices.Sorted(maps.Keys(required)) {
			n.Inputs[name] = c.value(t, required[name], workflow)
		}
		workflow[fmt.Sprint(i)] = n
	}
	workflow["out"] = node{"PreviewAny", map[string]any{"source": []any{fmt.Sprint(rapid.IntRange(0, len(workflow)-1).Draw(t, "shown")), 0}}}
	return workflow
}

// value draws the value of an input: the right one most of the time.
func (c *comfy) value(t *rapid.T, config []any, workflow map[string]node) any {
	if rapid.IntRange(0, 9).Draw(t, "luck") == 0 {
		return rapid.SampledFrom([]any{"nonsense", "", 1, nil, []any{"0", 0}, []any{"out", 0}, []any{"7"}}).Draw(t, "wrong")
	}
	if value, ok := first(config); ok {
		return value
	}
	kind, _ := config[0].(string)
	for _, id := range slices.Sorted(maps.Keys(workflow)) {
		for slot, output := range c.wire[workflow[id].Class].Output {
			if output == kind {
				return []any{id, slot}
			}
		}
	}
	return []any{"0", 0}
}

// The workflow of the demo is not refused.
func TestExampleIsNotRefused(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "examples", "txt2img.json"))
	if err != nil {
		t.Fatal(err)
	}
	var job struct {
		Input struct {
			Workflow map[string]node `json:"workflow"`
		} `json:"input"`
	}
	if err := json.Unmarshal(raw, &job); err != nil {
		t.Fatal(err)
	}
	inBothGenerations(t, func(t *testing.T, c *comfy) {
		if faults := c.check(t, job.Input.Workflow); len(faults) > 0 {
			t.Errorf("faults = %+v", faults)
		}
		job.Input.Workflow["4"].Inputs["ckpt_name"] = "sdxl_base.safetensors"
		if faults := c.check(t, job.Input.Workflow); len(faults) != 1 {
			t.Errorf("faults of a missing model = %+v", faults)
		}
		job.Input.Workflow["4"].Inputs["ckpt_name"] = "sd_xl_base_1.0.safetensors"
	})
}
