package comfy

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const jpeg, png = "\xff\xd8\xff\xe0\x00\x10JFIF", "\x89PNG\r\n\x1a\n\x00\x00"

func TestDecodeText(t *testing.T) {
	tests := []struct {
		name, frame string
		want        message
	}{
		{"status", `{"type":"status","data":{"status":{"exec_info":{"queue_remaining":1}},"sid":"A"}}`, message{}},
		{"start", `{"type":"execution_start","data":{"prompt_id":"p","timestamp":1795419355626}}`,
			message{prompt: "p", event: Started{}, running: true}},
		{"cached", `{"type":"execution_cached","data":{"nodes":["1","2"],"prompt_id":"p","timestamp":1}}`,
			message{prompt: "p", event: Cached{Nodes: []string{"1", "2"}}}},
		{"executing", `{"type":"executing","data":{"node":"2.0.0.1","display_node":"2","prompt_id":"p"}}`,
			message{prompt: "p", event: Executing{Node: "2"}, running: true}},
		{"executing after a reconnect", `{"type":"executing","data":{"node":"1"}}`,
			message{event: Executing{Node: "1"}, running: true}},
		{"end", `{"type":"executing","data":{"node":null,"prompt_id":"p"}}`,
			message{prompt: "p", mark: endMark}},
		{"end of no prompt", `{"type":"executing","data":{"node":null}}`, message{}},
		{"executing without a node is no end", `{"type":"executing","data":{"prompt_id":"p"}}`, message{prompt: "p"}},
		{"executing a number is no end", `{"type":"executing","data":{"node":7,"prompt_id":"p"}}`, message{prompt: "p"}},
		{"progress", `{"type":"progress","data":{"value":2,"max":12,"prompt_id":"p","node":"1"}}`,
			message{prompt: "p", event: Progress{Node: "1", Value: 2, Max: 12}, running: true}},
		{"progress of NaN", `{"type":"progress","data":{"value":NaN,"max":1e999,"prompt_id":"p","node":"1"}}`,
			message{prompt: "p", event: Progress{Node: "1"}, running: true}},
		{"progress state", `{"type":"progress_state","data":{"prompt_id":"p","nodes":{"1":{"value":1.0,"max":2.0,"state":"running"}}}}`,
			message{prompt: "p"}},
		{"executed", `{"type":"executed","data":{"node":"2","display_node":"2","output":{"images":[{"filename":"x.png"}],"score":[NaN]},"prompt_id":"p"}}`,
			message{prompt: "p", event: Executed{Node: "2"}}},
		{"success", `{"type":"execution_success","data":{"prompt_id":"p","timestamp":1}}`, message{prompt: "p", mark: doneMark}},
		{"interrupted", `{"type":"execution_interrupted","data":{"prompt_id":"p","node_id":"1","executed":[]}}`, message{prompt: "p", mark: hintMark}},
		{"error", `{"type":"execution_error","data":{"prompt_id":"p","node_id":"3","node_type":"T","exception_message":"m\n","exception_type":"E","traceback":["a\n"],"current_inputs":{"key":["canary"]}}}`,
			message{prompt: "p", mark: hintMark, failure: &NodeFailure{Node: "3", Class: "T", ExceptionType: "E", Message: "m", Traceback: []string{"a"}}}},
		{"blocked", `{"type":"execution_error","data":{"prompt_id":"p","node_id":"3","node_type":"T","exception_message":"no","exception_type":"ExecutionBlocked","current_inputs":[]}}`,
			message{prompt: "p", mark: hintMark, failure: &NodeFailure{Node: "3", Class: "T", ExceptionType: "ExecutionBlocked", Message: "no"}}},
		{"feature flags", `{"type":"feature_flags","data":{"supports_preview_metadata":true}}`, message{}},
		{"custom type", `{"type":"rig.custom","data":{"hello":"world"}}`, message{}},
		{"data is a list", `{"type":"execution_start","data":[1]}`, message{event: Started{}, running: true}},
		{"data is null", `{"type":"executing","data":null}`, message{}},
		{"a list", `[1]`, message{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeText([]byte(tt.frame))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(message{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.frame, diff)
			}
		})
	}
}

// binaryFrame builds a frame out of numbers, which become four bytes, and text.
func binaryFrame(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(p))
		case string:
			b = append(b, p...)
		}
	}
	return b
}

func TestDecodeBinary(t *testing.T) {
	meta := `{"node_id": "2.0.1", "prompt_id": "p", "display_node_id": "2", "parent_node_id": null, "real_node_id": "1", "image_type": "image/jpeg"}`
	tests := []struct {
		name  string
		frame []byte
		want  message
	}{
		{"preview", binaryFrame(1, 1, jpeg), message{running: true, event: Preview{MIME: "image/jpeg", Data: []byte(jpeg)}}},
		{"preview whose header lies", binaryFrame(1, 1, png), message{running: true, event: Preview{MIME: "image/png", Data: []byte(png)}}},
		{"unencoded preview", binaryFrame(2, 2, png), message{running: true, event: Preview{MIME: "image/png", Data: []byte(png)}}},
		{"text", binaryFrame(3, 1, "1working \xff1/2"), message{running: true, event: Text{Node: "1", Text: "working �1/2"}}},
		{"preview with metadata", binaryFrame(4, len(meta), meta, jpeg), message{prompt: "p", running: true, event: Preview{Node: "2", MIME: "image/jpeg", Data: []byte(jpeg)}}},
		{"unknown kind", binaryFrame(99, "anything"), message{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := decodeBinary(tt.frame)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(message{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A hostile frame is an error or nothing: it neither panics nor makes room for
// what its header promises.
func TestFault_W6_HostileFramesAreErrors(t *testing.T) {
	t.Run("binary", func(t *testing.T) {
		for _, frame := range [][]byte{
			nil, {1}, binaryFrame(1), binaryFrame(1, "abc"), binaryFrame(3, 1<<31-1, "x"), binaryFrame(3, -1, "x"),
			binaryFrame(4, 3, "{}"), binaryFrame(4, 2, "[}", jpeg),
		} {
			if m, err := decodeBinary(frame); err == nil {
				t.Errorf("frame %q became %+v", frame, m)
			}
		}
	})
	t.Run("text", func(t *testing.T) {
		for _, frame := range []string{"", "not json", `{"type":`, `{"type":"status"}}`, strings.Repeat("[", 100_000), `{"data":` + strings.Repeat(`{"a":`, 100_000)} {
			if m, err := decodeText([]byte(frame)); err == nil {
				t.Errorf("frame %.40q became %+v", frame, m)
			} else if len(err.Error()) > 500 {
				t.Errorf("frame %.40q makes an error of %d bytes", frame, len(err.Error()))
			}
		}
	})
}

func FuzzDecodeText(f *testing.F) {
	for _, seed := range []string{
		`{"type":"executing","data":{"node":null,"prompt_id":"p"}}`,
		`{"type":"executed","data":{"node":"2","output":{"x":[NaN]},"prompt_id":"p"}}`,
		`{"type":"execution_error","data":{"traceback":["x",1],"current_inputs":[]}}`,
		`{"type":"progress","data":{"value":1e999,"max":"x","node":{}}}`, `[[[[`, `"\ud800"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := decodeText(frame)
		if err != nil {
			return
		}
		if m.mark == endMark && m.prompt == "" {
			t.Errorf("%q ends no prompt in particular", frame)
		}
		if e, ok := m.event.(Executing); ok && e.Node == "" {
			t.Errorf("%q executes no node in particular", frame)
		}
	})
}

func FuzzDecodeBinary(f *testing.F) {
	f.Add(binaryFrame(1, 2, png))
	f.Add(binaryFrame(3, 1, "1text"))
	f.Add(binaryFrame(4, 15, `{"node_id":"1"}`, jpeg))
	f.Add(binaryFrame(4, -1))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := decodeBinary(frame)
		if p, ok := m.event.(Preview); ok && (err != nil || len(p.Data) > len(frame)) {
			t.Errorf("%q became a preview of %d bytes, %v", frame, len(p.Data), err)
		}
	})
}

func BenchmarkDecodeProgress(b *testing.B) {
	frame := []byte(`{"type": "progress", "data": {"value": 12, "max": 20, "prompt_id": "7f0c1d7e-6a3b-5f0e-9d51-0b6a7c2f4e10", "node": "3"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeText(frame); err != nil {
			b.Fatal(err)
		}
	}
}

// progress_state names every node of the workflow each time.
func BenchmarkDecodeProgressState100Nodes(b *testing.B) {
	nodes := map[string]any{}
	for _, id := range strings.Fields(strings.Repeat("1 2 3 4 5 6 7 8 9 10 ", 10)) {
		nodes[id+strings.Repeat("0", len(nodes)%10)] = map[string]any{"value": 1.0, "max": 1.0, "state": "finished", "node_id": id, "prompt_id": fixtureID, "display_node_id": id, "real_node_id": id}
	}
	frame, err := json.Marshal(map[string]any{"type": "progress_state", "data": map[string]any{"prompt_id": fixtureID, "nodes": nodes}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeText(frame); err != nil {
			b.Fatal(err)
		}
	}
}
