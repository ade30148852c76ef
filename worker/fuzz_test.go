package worker

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/convert"
)

// What is accepted as base64 has the size that was told, as often as it is read,
// and its bytes are those of the text.
func FuzzDecodeBase64(f *testing.F) {
	for _, text := range []string{
		"aGk=", "aGk", "data:image/png;base64,aGk=", "data:;base64,", "data:image/png,aGk", "-_-_", "+/+/", "a\r\nGk\t=", "a===", "a",
		"aGk=aGk=", "https://example.com/a.png", "data:text/plain;charset=utf-8;base64,aGk", "aG k=", "ä", "\x00", "aGk=\n\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		content, err := decodeBase64(text)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		var last []byte
		for range 2 {
			r, err := content.Open()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || int64(len(got)) != content.Size || content.Size == 0 {
				t.Fatalf("%d bytes of %d, %v", len(got), content.Size, err)
			}
			if last != nil && string(got) != string(last) {
				t.Error("other bytes the second time")
			}
			last = got
		}
		plain := text[strings.LastIndexByte(text, ',')+1:]
		plain = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "", "-", "+", "_", "/", "=", "").Replace(plain)
		if again := base64.RawStdEncoding.EncodeToString(last); again[:len(again)-1] != plain[:len(plain)-1] { // the last has bits to spare
			t.Errorf("%q became %q", plain, again)
		}
	})
}

// A workflow that is accepted is sent as JSON with the nodes that it has, and
// what is said of it is bounded.
func FuzzParseWorkflow(f *testing.F) {
	for _, text := range []string{
		`{"1":{"class_type":"SaveImage","inputs":{"images":["2",0],"filename_prefix":"a/b"}}}`,
		`{"nodes":[],"links":[]}`, `"{\"1\":{\"class_type\":\"A\",\"inputs\":{}}}"`, `{}`, `[]`, `null`, `"`, `{"1":null}`,
		`{"1":{"class_type":"A"}}`, `{"1":{"class_type":"A","inputs":[]}}`, `{"1":{"class_type":1,"inputs":{}}}`,
		`{"1":{"class_type":"A","inputs":{"filename_prefix":"../x"},"_meta":{"title":"t"}},"1":{"class_type":"B","inputs":{"a":"in.png [input]"}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		wf, err := parseWorkflow(raw)
		if err != nil {
			return
		}
		graph, err := wf.forAttempt("comfyvisor/x", map[string]string{"in.png": "y_in.png"})
		if err != nil {
			t.Fatal(err)
		}
		var sent map[string]map[string]json.RawMessage // no struct: its names take inPuts for inputs
		if err := json.Unmarshal(graph, &sent); err != nil || len(sent) != len(wf) {
			t.Fatalf("%s: %v", graph, err)
		}
		for id, n := range wf {
			var class string
			var inputs map[string]json.RawMessage
			if err := cmp.Or(json.Unmarshal(sent[id]["class_type"], &class), json.Unmarshal(sent[id]["inputs"], &inputs)); err != nil || class != n.class || len(inputs) != len(n.inputs) {
				t.Errorf("node %q is sent as %s, %v", id, sent[id], err)
			}
		}
		if text := wf.wouldSaveNothing(); len(text) > 4<<10 {
			t.Errorf("%d bytes are said of it", len(text))
		}
	})
}

// Whatever stands in input.output, what is accepted is within the bounds.
func FuzzParseWanted(f *testing.F) {
	for _, text := range []string{`{"format":"jpeg","quality":90,"max_edge":1024,"previews":true}`, `{"format":"JPG"}`, `[]`, `{"quality":1e2}`, `{"x":1}`, `null`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		w, faults := parseWanted(raw)
		if got := w.over(convert.Format{}); len(faults) == 0 && (got.Quality < 0 || got.Quality > 100 || got.MaxEdge < 0 || got.MaxEdge > convert.LongestEdge) {
			t.Errorf("%s became %+v", raw, got)
		}
		for _, err := range faults {
			if len(err.Error()) > 1<<10 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		}
	})
}

// A warm-up that is accepted is one as well when it stands in a job, and its
// workflow can be sent.
func FuzzParseWarmUp(f *testing.F) {
	for _, text := range []string{
		`{"1":{"class_type":"SaveImage","inputs":{"filename_prefix":"a"}}}`, `{"workflow":{"1":{"class_type":"A","inputs":{}}}}`,
		`{"input":{"workflow":{"1":{"class_type":"A","inputs":{}}}}}`, `{"input":"{\"workflow\":{\"1\":{\"class_type\":\"A\",\"inputs\":{}}}}"}`,
		`{"nodes":[],"links":[]}`, `{"input":null}`, `{}`, `null`, `[]`, ``, `{"workflow":{},"images":[{"name":"a.png","image":"aGk="}]}`,
		`{"workflow":{"1":{"class_type":"A","inputs":{}}},"images":[{"name":"a.png","image":"https://example.com/a.png"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := ParseWarmUp(raw)
		if err != nil {
			return
		}
		if len(u.input.workflow) == 0 {
			t.Fatalf("%q was accepted without a node", raw)
		}
		if _, err := u.input.workflow.forAttempt("comfyvisor/x", nil); err != nil {
			t.Error(err)
		}
		for _, file := range u.input.files {
			if file.url != nil {
				t.Errorf("%q was accepted, but a warm-up fetches nothing", raw)
			}
		}
	})
}
