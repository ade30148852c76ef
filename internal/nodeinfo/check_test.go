package nodeinfo

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const installed = `{
	"CheckpointLoaderSimple":{"input":{"required":{"ckpt_name":[["a.safetensors","sub/b.safetensors"]]}},"python_module":"nodes"},
	"KSampler":{"input":{"required":{"model":["MODEL"],"sampler_name":["COMBO",{"options":["euler","heun"]}]},"optional":{"more":["LATENT"]}},"python_module":"nodes"},
	"LoraLoader":{"input":{"required":{"lora_name":[["l.safetensors"]]}},"python_module":"custom_nodes.lora-pack"},
	"LoadImage":{"input":{"required":{"image":[["example.png"],{"image_upload":true}],"channel":[["red"]]}},"python_module":"nodes"},
	"PackLoader":{"input":{"required":{"name":[["x"]]}},"python_module":"custom_nodes.pack"},
	"SaveImage":{"input":{"required":{"images":["IMAGE"],"more":["*"]}},"output_node":true,"python_module":"nodes"}}`

// nodes reads a workflow.
func nodes(t testing.TB, workflow string) map[string]Node {
	t.Helper()
	var wire map[string]struct {
		Class  string                     `json:"class_type"`
		Inputs map[string]json.RawMessage `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(workflow), &wire); err != nil {
		t.Fatal(err)
	}
	read := make(map[string]Node, len(wire))
	for id, n := range wire {
		read[id] = Node{n.Class, n.Inputs}
	}
	return read
}

// defaults is an input with the first value of its list.
func defaults(list []string, field string) map[string]json.RawMessage {
	if len(list) == 0 {
		return nil
	}
	raw, _ := json.Marshal(list[0]) // strings have no errors
	return map[string]json.RawMessage{field: raw}
}

// saved is a workflow in which an output needs node 1.
func saved(node string) string {
	return `{"1":` + node + `,"9":{"class_type":"SaveImage","inputs":{"images":["1",0]}}}`
}

func TestCheck(t *testing.T) {
	loader := func(value string) string {
		return `{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":` + value + `}}`
	}
	missing := []Fault{{Node: "1", Class: "CheckpointLoaderSimple", Field: "ckpt_name", Value: "c.safetensors"}}
	for _, tt := range []struct {
		name, workflow string
		want           []Fault
	}{
		{"a model that is there", saved(loader(`"sub/b.safetensors"`)), nil},
		{"a model that is not", saved(loader(`"c.safetensors"`)), missing},
		{"an empty name", saved(loader(`""`)), []Fault{{Node: "1", Class: "CheckpointLoaderSimple", Field: "ckpt_name"}}},
		{"another case", saved(loader(`"A.safetensors"`)), []Fault{{Node: "1", Class: "CheckpointLoaderSimple", Field: "ckpt_name", Value: "A.safetensors"}}},
		{"a number", saved(loader(`7`)), nil},
		{"an object", saved(loader(`{"__value__":"c"}`)), nil},
		{"null", saved(loader(`null`)), nil},
		{"half a character", saved(loader(`"c\ud800"`)), nil},
		{"a link to a model's name", saved(loader(`["2",0]`)), nil},
		{"no output needs it", `{"1":` + loader(`"c.safetensors"`) + `,"9":{"class_type":"SaveImage","inputs":{"images":["8",0]}}}`, nil},
		{"linked to an input that the class has not", `{"1":` + loader(`"c.safetensors"`) + `,"9":{"class_type":"SaveImage","inputs":{"other":["1",0]}}}`, nil},
		{"needed far away, in a cycle", `{"1":` + loader(`"c.safetensors"`) + `,"2":{"class_type":"KSampler","inputs":{"model":["1",0],"more":["2",0],"sampler_name":"heun"}},
			"9":{"class_type":"SaveImage","inputs":{"images":["2",0]}}}`, missing},
		{"not in the list of options", saved(`{"class_type":"KSampler","inputs":{"sampler_name":"eulr"}}`),
			[]Fault{{Node: "1", Class: "KSampler", Field: "sampler_name", Value: "eulr"}}},
		{"a custom node with the name of a loader", saved(`{"class_type":"LoraLoader","inputs":{"lora_name":"other"}}`), nil},
		{"a custom node", saved(`{"class_type":"PackLoader","inputs":{"name":"other"}}`), nil},
		{"an upload", saved(`{"class_type":"LoadImage","inputs":{"image":"mine.png","channel":"sideways"}}`), nil},
		{"a class that is not there, and no output needs it", `{"1":{"class_type":"NoSuch"},"10":{"class_type":"Neither"},"9":{"class_type":"SaveImage"}}`,
			[]Fault{{Node: "1", Class: "NoSuch"}, {Node: "10", Class: "Neither"}}},
		{"a class that is replaced", saved(`{"class_type":"OldName","inputs":{"ckpt_name":"x"}}`), nil},
		{"behind a class that is replaced", `{"1":` + loader(`"c.safetensors"`) + `,"2":{"class_type":"OldName","inputs":{"model":["1",0]}},
			"9":{"class_type":"SaveImage","inputs":{"images":["2",0]}}}`, nil},
		{"nothing", `{}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			info := parse(t, installed)
			info.Spare([]string{"OldName"})
			if diff := cmp.Diff(tt.want, info.Check(nodes(t, tt.workflow))); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
		})
	}
}

func TestNothingIsKnownNothingIsRefused(t *testing.T) {
	var info *Info
	if faults := info.Check(nodes(t, saved(`{"class_type":"NoSuch"}`))); faults != nil {
		t.Errorf("faults = %+v", faults)
	}
	if info.NearClasses("x") != nil || info.NearValues("x", "y", "z") != nil || info.Title("x") != "" || info.Len() != 0 {
		t.Error("a nil Info knows something")
	}
}

// What ComfyUI says of one class later stands over what it said of all.
func TestRenewed(t *testing.T) {
	old := parse(t, installed)
	bad := nodes(t, `{"1":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"new"}},"2":{"class_type":"Late"},
		"9":{"class_type":"SaveImage","inputs":{"images":["1",0]}}}`)
	if n := len(old.Check(bad)); n != 2 {
		t.Fatalf("%d faults, want 2", n)
	}
	info := old.Renewed("CheckpointLoaderSimple", parse(t, `{"CheckpointLoaderSimple":{"input":{"required":{"ckpt_name":[["new"]]}},"python_module":"nodes"}}`))
	info = info.Renewed("Late", parse(t, `{"Late":{}}`))
	if faults := info.Check(bad); len(faults) != 0 {
		t.Errorf("faults = %+v", faults)
	}
	if faults := info.Renewed("Late", parse(t, `{}`)).Check(bad); len(faults) != 1 {
		t.Errorf("faults = %+v, want the class that is gone", faults)
	}
	if n := len(old.Check(bad)); n != 2 {
		t.Errorf("the original has changed: %d faults, want 2", n)
	}
}

// chain is a workflow of n nodes that all stand behind one output.
func chain(n int, sampler string) map[string]Node {
	wf := map[string]Node{"0": {"SaveImage", map[string]json.RawMessage{"images": json.RawMessage(`["1",0]`)}}}
	for i := 1; i < n; i++ {
		wf[strconv.Itoa(i)] = Node{"KSampler", map[string]json.RawMessage{
			"model": json.RawMessage(fmt.Sprintf(`["%d",0]`, i+1)), "seed": json.RawMessage(`12345`), "sampler_name": json.RawMessage(sampler),
		}}
	}
	return wf
}

func BenchmarkCheck(b *testing.B) {
	info := parse(b, installed)
	wf := chain(100, `"heun"`)
	b.ReportAllocs()
	for b.Loop() {
		if len(info.Check(wf)) != 0 {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCheckWithFaults(b *testing.B) {
	info := parse(b, installed)
	wf := chain(100, `"eulr"`)
	for b.Loop() {
		if len(info.Check(wf)) != 99 {
			b.Fatal("not refused")
		}
	}
}
