package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const graph = `{
	"3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "model": ["4", 0]}, "_meta": {"title": "Sampler"}},
	"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog"}, "_meta": {"title": "v1.5 prompt"}},
	"7": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}, "_meta": {"title": "Same"}},
	"8": {"class_type": "LoadImage", "inputs": {"image": "example.png"}, "_meta": {"title": "same"}}
}`

// requestOf reads a request from a file that holds text.
func requestOf(t *testing.T, text string) (*request, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "workflow.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return readRequest(strings.NewReader(""), name)
}

func TestSet(t *testing.T) {
	for _, tt := range []struct {
		assignment string
		node, want string // the node's inputs, or part of the error
	}{
		{"6.text=a cat", "6", `{"text":"a cat"}`},
		{"6.inputs.text=a cat", "6", `{"text":"a cat"}`},
		{"6.text=42", "6", `{"text":"42"}`},
		{`6.text="quoted"`, "6", `{"text":"quoted"}`},
		{`6.text=a "cat" = b`, "6", `{"text":"a \"cat\" = b"}`},
		{"6.text=", "6", `{"text":""}`},
		{"v1.5 prompt.text=by title", "6", `{"text":"by title"}`},
		{"sampler.steps=8", "3", `{"model":["4",0],"seed":5,"steps":8}`},
		{"3.steps=many", "3", `{"model":["4",0],"seed":5,"steps":"many"}`},
		{`3.model=["9",1]`, "3", `{"model":["9",1],"seed":5,"steps":20}`},
		{"3.step=8", "", `node 3 has no input "step": there are model, seed, steps; did you mean steps?`},
		{"9.text=x", "", `the workflow has no node "9"`},
		{"same.text=x", "", `nodes 7, 8 all have the title "same"`},
		{"6.text", "", "want NODE.FIELD=VALUE"},
		{"text=x", "", "names no field"},
		{".inputs.=x", "", "names no field"},
	} {
		r, err := requestOf(t, graph)
		if err != nil {
			t.Fatal(err)
		}
		err = r.set(tt.assignment)
		if tt.node == "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %s", tt.assignment, err, tt.want)
			}
			continue
		}
		if got := string(r.workflow[tt.node]["inputs"]); err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.assignment, got, err, tt.want)
		}
	}
}

func TestFilesThatAreNoWorkflow(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "no JSON object",
		"[1]":                              "no JSON object",
		`{"nodes": [], "links": []}`:       "Export (API)",
		`{"1": {"inputs": {}}}`:            `"1" in it is no node with a class_type`,
		`{"input": 5}`:                     "an input that is no object",
		`{"input": {"workflow": {"1":3}}}`: `"1" in it is no node`,
	} {
		if _, err := requestOf(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// A whole job keeps what stands beside its workflow, and a workflow that is a
// text is sent as it is.
func TestWholeJob(t *testing.T) {
	r, err := requestOf(t, `{"webhook":"https://x","input":{"workflow":{"1":{"class_type":"A","inputs":{"n":1}}},"images":[{"name":"a","image":"AAAA"}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.set("1.n=2"); err != nil {
		t.Fatal(err)
	}
	got, err := r.encode()
	want := `{"input":{"images":[{"name":"a","image":"AAAA"}],"workflow":{"1":{"class_type":"A","inputs":{"n":2}}}},"webhook":"https://x"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	r, err = requestOf(t, `{"input":{"workflow":"{}"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.encode(); err != nil || string(got) != `{"input":{"workflow":"{}"}}` {
		t.Errorf("got %s, %v", got, err)
	}
	if err := r.set("1.n=2"); err == nil {
		t.Error("an input of nothing was set")
	}
}

func TestAttach(t *testing.T) {
	r, err := requestOf(t, graph)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "face.png")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	name, err := r.attach("images", "image", file)
	if err != nil || name != "face.png" {
		t.Fatalf("got %q, %v", name, err)
	}
	if err := r.uses(name, file); err == nil || !strings.Contains(err.Error(), "node 8 (LoadImage) loads example.png as image; give it that name with NAME="+file) {
		t.Errorf("an input that nobody uses: %v", err)
	}
	name, err = r.attach("images", "image", "example.png="+file)
	if err != nil || r.uses(name, "example.png="+file) != nil {
		t.Errorf("renamed: %q, %v", name, err)
	}
	if got, want := string(r.input["images"]), `[{"image":"YWJj","name":"face.png"},{"image":"YWJj","name":"example.png"}]`; got != want {
		t.Errorf("got %s", got)
	}
	if _, err := r.attach("images", "image", file+".none"); err == nil {
		t.Error("a file that is not there was attached")
	}
}

func FuzzSet(f *testing.F) {
	f.Add(graph, "6.text=a cat")
	f.Add(`{"input":{"workflow":{"1":{"class_type":"A"}}}}`, "1.inputs.x=[1")
	f.Add(`{"a.b":{"class_type":1,"inputs":{"c":null}}}`, "a.b.c=\x00")
	f.Fuzz(func(t *testing.T, text, assignment string) {
		r, err := readRequest(strings.NewReader(text), "-")
		if err != nil || r.set(assignment) != nil {
			return
		}
		if doc, err := r.encode(); err != nil || !json.Valid(doc) {
			t.Errorf("%q and %q became %q, %v", text, assignment, doc, err)
		}
	})
}
