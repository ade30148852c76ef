package comfy

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const fixtureID = "7f0c1d7e-6a3b-5f0e-9d51-0b6a7c2f4e10"

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func historyFixture(t testing.TB, name string) *historyEntry {
	t.Helper()
	body := fixture(t, "history/"+name+".json")
	entry, err := decodeHistory(&answer{method: "GET", path: "/history", status: 200, body: body}, fixtureID)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

func out(node, kind, name, subfolder string) Output {
	return Output{Node: node, Kind: kind, Filename: name, Subfolder: subfolder, Type: "output"}
}

func TestOutcome(t *testing.T) {
	temp := func(o Output) Output { o.Type = "temp"; return o }
	animated := func(o Output) Output { o.Animated = true; return o }
	gif := out("2", "gifs", "AnimateDiff_00001.mp4", "vhs")
	gif.Format = "video/h264-mp4"

	tests := []struct {
		fixture string
		outputs []Output
		values  map[string]string
	}{
		{"image", []Output{out("2", "images", "one_00001_.png", "")}, nil},
		{"batch_and_temp", []Output{
			temp(out("9", "images", "ComfyUI_temp_abcde_00001_.png", "")),
			out("10", "images", "b_00001_.png", "sub"),
			out("10", "images", "b_00002_.png", "sub"),
		}, nil},
		{"video_under_images", []Output{animated(out("2", "images", "clip_00001_.mp4", "video"))}, nil},
		{"not_animated", []Output{temp(out("2", "images", "crop_00001_.png", ""))}, nil},
		{"audio", []Output{out("2", "audio", "k_00001.flac", "audio")}, nil},
		{"gifs_with_extra_fields", []Output{gif}, nil},
		{"text", nil, map[string]string{"2": `{"text":["1958129"]}`}},
		{"text_and_files", []Output{out("2", "files", "note_00001.txt", "")}, map[string]string{"2": `{"text":["whole text"]}`}},
		{"result_list", nil, map[string]string{"2": `{"result":["3d/adv_00001.glb",null,[]]}`}},
		{"three_d", []Output{out("2", "3d", "mesh_00001_.glb", "mesh")}, map[string]string{"2": `{"result":["mesh/mesh_00001_.glb [output]",null,[]]}`}},
		{"nested_and_mixed", []Output{
			out("2", "images", "in_list.png", ""), out("2", "images", "deep.bin", ""), out("2", "one", "alone.json", ""),
		}, map[string]string{"2": `{"images":["loose",{"deep":[{"filename":"deep.bin","subfolder":"","type":"output"}]}]}`}},
		{"bare_file", []Output{out("2", "images", "bare.png", "")}, nil},
		{"node_not_an_object", nil, map[string]string{"2": `["odd", 7]`}},
		{"subgraph", []Output{out("2.0.0.2", "images", "x_00001_.png", "")}, nil},
		{"no_outputs", nil, nil},
		{"outputs_a_list", nil, nil},
		{"bare_nan", nil, map[string]string{"2": `{"scores":[null,null,null,"NaN",1e999]}`}},
		{"lone_surrogate", nil, map[string]string{"2": `{"text":["\ufffd alone"]}`}},
	}
	for _, tt := range tests {
		t.Run(tt.fixture, func(t *testing.T) {
			entry := historyFixture(t, tt.fixture)
			if err := entry.Status.verdict(nil); err != nil {
				t.Errorf("verdict: %v, want success", err)
			}
			got := entry.outcome()
			if diff := cmp.Diff(tt.outputs, got.Outputs); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
			values := map[string]string{}
			for node, raw := range got.Values {
				values[node] = string(raw)
			}
			if tt.values == nil {
				tt.values = map[string]string{}
			}
			if diff := cmp.Diff(tt.values, values); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutcomeTellsCachedNodesAndTime(t *testing.T) {
	got := historyFixture(t, "batch_and_temp").outcome()
	if want := []string{"1", "7"}; !reflect.DeepEqual(got.CachedNodes, want) {
		t.Errorf("cached %v, want %v", got.CachedNodes, want)
	}
	if want := 250 * time.Millisecond; got.Elapsed != want {
		t.Errorf("elapsed %v, want %v", got.Elapsed, want)
	}
}

// The history decides how a prompt ended, its messages before its status: an
// error is never a success, and an interrupt is told from a failure.
func TestFault_W8_HistoryDecides(t *testing.T) {
	explosion := &NodeFailure{
		Node: "3", Class: "Explode", ExceptionType: "ValueError", Message: "out of gunpowder",
		Traceback: []string{`  File "nodes.py", line 12, in run`, `  File "powder.py", line 3, in light`},
	}
	untraced := *explosion
	untraced.Traceback = nil
	blocked := &NodeFailure{Node: "5", ExceptionType: "ExecutionBlocked"}
	tests := []struct {
		name, fixture string
		told          *NodeFailure
		want          error
	}{
		{"success", "image", nil, nil},
		{"a node raised", "node_raised", nil, explosion},
		{"inputs are a list, traceback is text", "inputs_a_list", nil, &untraced},
		{"interrupted has the status error", "interrupted", nil, ErrInterrupted},
		{"error message beside the status success", "stale_success", nil, explosion},
		{"error event, status success, no messages", "success_without_messages", explosion, explosion},
		{"blocked node, status success, no messages", "success_without_messages", blocked, nil},
		{"blocked node, success", "image", blocked, nil},
		{"error event, success message", "image", explosion, nil},
		{"status error without messages", "error_without_messages", nil, &NodeFailure{Message: "ComfyUI's history tells that the prompt failed, but not why"}},
		{"status error beside a success message", "error_beside_success", nil, &NodeFailure{Message: "ComfyUI's history tells both success and an error of the prompt"}},
		{"no status", "no_status", nil, &NodeFailure{Message: "ComfyUI's history tells that the prompt failed, but not why"}},
		{"messages of odd shape", "messages_of_odd_shape", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entry := historyFixture(t, tt.fixture)
			got := entry.Status.verdict(tt.told)
			if !errors.Is(got, tt.want) && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("verdict %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestFailureKeepsNoInputs(t *testing.T) {
	err := historyFixture(t, "node_raised").Status.verdict(nil)
	var failure *NodeFailure
	if !errors.As(err, &failure) {
		t.Fatalf("verdict %v, want a NodeFailure", err)
	}
	for _, text := range append(failure.Traceback, failure.Error(), failure.Message) {
		if strings.Contains(text, "canary") {
			t.Errorf("the failure tells the inputs of the node: %q", text)
		}
	}
	if want := "node 3 (Explode) raised ValueError: out of gunpowder"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestFailureIsBounded(t *testing.T) {
	wire := wireFailure{ExceptionMessage: strings.Repeat("m", 1<<20)}
	for range 1000 {
		wire.Traceback = append(wire.Traceback, strings.Repeat("t", 1<<15))
	}
	f := wire.failure()
	size := len(f.Message)
	for _, line := range f.Traceback {
		size += len(line)
	}
	if size > 64<<10 {
		t.Errorf("a failure keeps %d bytes, want at most 64 KiB", size)
	}
}

func TestHistoryWithoutThePrompt(t *testing.T) {
	if entry := historyFixture(t, "unknown"); entry != nil {
		t.Errorf("got %+v, want none", entry)
	}
}

func TestHistorySkipsTheWorkflow(t *testing.T) {
	small := fixture(t, "history/image.json")
	echo := `"prompt": [` + strings.Repeat(`{"class_type": "EmptyImage", "inputs": [1, 2, "x"]}, `, 5000)
	large := []byte(strings.Replace(string(small), `"prompt": [`, echo, 1))
	allocs := func(body []byte) float64 {
		return testing.AllocsPerRun(10, func() {
			if e, err := decodeHistory(&answer{status: 200, body: body}, fixtureID); err != nil || e == nil {
				t.Fatal(e, err)
			}
		})
	}
	if a, b := allocs(small), allocs(large); b > a+5 {
		t.Errorf("%d bytes of history take %.0f allocations, %d bytes take %.0f", len(large), b, len(small), a)
	}
}

func FuzzHistory(f *testing.F) {
	entries, err := os.ReadDir("testdata/history")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		f.Add(fixture(f, "history/"+e.Name()))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		entry, err := decodeHistory(&answer{status: 200, body: body}, fixtureID)
		if err != nil || entry == nil {
			return
		}
		if entry.Status.verdict(nil) == nil && entry.Status.Word == "error" {
			t.Errorf("the status error became a success: %s", body)
		}
		for _, o := range entry.outcome().Outputs {
			if o.Filename == "" || o.Type == "" {
				t.Errorf("output %+v lacks a name or type: %s", o, body)
			}
		}
	})
}
