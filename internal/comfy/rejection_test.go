package comfy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A refused workflow names the node, its class, the input, what was received and
// the first 20 values that would do, for every shape of refusal on record.
func TestFault_H1_RejectionNamesNodeFieldAndChoices(t *testing.T) {
	const failed = "prompt_outputs_failed_validation"
	const failedText = "Prompt outputs failed validation"
	var twenty []string
	for i := range 20 {
		twenty = append(twenty, strconv.Itoa(i))
	}
	missing := NodeError{Node: "10", Class: "SaveImage", Type: "required_input_missing", Message: "Required input is missing", Details: "images", Field: "images"}
	inPart := missing
	inPart.Node = "3"
	const cycle = "1 (ImageInvert) -> 2 (ImageInvert) -> 1 (ImageInvert)"

	tests := []struct {
		fixture string
		want    RejectedError
		text    string
	}{
		{"unknown_class_0.3.64.json", RejectedError{
			Type: "invalid_prompt", Message: "Cannot execute because node NoSuchNode does not exist.", Details: "Node ID '#7'",
			Nodes: []NodeError{{Node: "7", Class: "NoSuchNode", Type: "invalid_prompt", Message: "Cannot execute because node NoSuchNode does not exist."}},
		}, "ComfyUI refused the workflow: node 7 (NoSuchNode): Cannot execute because node NoSuchNode does not exist."},
		{"unknown_class_0.33.0.json", RejectedError{
			Type: "missing_node_type", Message: "Node 'NoSuchNode' not found. The custom node may not be installed.", Details: "Node ID '#7'",
			Nodes: []NodeError{{Node: "7", Class: "NoSuchNode", Type: "missing_node_type", Message: "Node 'NoSuchNode' not found. The custom node may not be installed."}},
		}, "ComfyUI refused the workflow: node 7 (NoSuchNode): Node 'NoSuchNode' not found. The custom node may not be installed."},
		{"no_outputs.json", RejectedError{Type: "prompt_no_outputs", Message: "Prompt has no outputs"},
			"ComfyUI refused the workflow: Prompt has no outputs"},
		{"value_not_in_list.json", RejectedError{Type: failed, Message: failedText, Nodes: []NodeError{{
			Node: "3", Class: "ImageScale", Type: "value_not_in_list", Message: "Value not in list",
			Details: "upscale_method: 'zzz' not in ['nearest-exact', 'bilinear', 'area']",
			Field:   "upscale_method", Received: `"zzz"`, Allowed: []string{"nearest-exact", "bilinear", "area"}, Choices: 3,
		}}}, "ComfyUI refused the workflow: node 3 (ImageScale) input upscale_method: Value not in list: upscale_method: 'zzz' not in ['nearest-exact', 'bilinear', 'area']"},
		{"value_not_in_long_list.json", RejectedError{Type: failed, Message: failedText, Nodes: []NodeError{{
			Node: "3", Class: "KSampler", Type: "value_not_in_list", Message: "Value not in list",
			Details: "sampler_name: 'zzz' not in (list of length 44)", Field: "sampler_name", Received: `"zzz"`,
		}}}, "ComfyUI refused the workflow: node 3 (KSampler) input sampler_name: Value not in list: sampler_name: 'zzz' not in (list of length 44)"},
		{"value_not_in_list_of_30.json", RejectedError{Type: failed, Message: failedText, Nodes: []NodeError{{
			Node: "3", Class: "Pick", Type: "value_not_in_list", Message: "Value not in list",
			Details: "n: 99 not in list", Field: "n", Received: "99", Allowed: twenty, Choices: 30,
		}}}, "ComfyUI refused the workflow: node 3 (Pick) input n: Value not in list: n: 99 not in list"},
		{"three_faults.json", RejectedError{Type: failed, Message: failedText, Nodes: []NodeError{
			{Node: "2", Class: "EmptyImage", Type: "value_bigger_than_max", Message: "Value 99999999 bigger than max of 16384", Details: "height", Field: "height", Received: "99999999"},
			{Node: "2", Class: "EmptyImage", Type: "value_smaller_than_min", Message: "Value 0 smaller than min of 1", Details: "width", Field: "width", Received: "0"},
			missing,
		}}, "ComfyUI refused the workflow: node 2 (EmptyImage) input height: Value 99999999 bigger than max of 16384; " +
			"node 2 (EmptyImage) input width: Value 0 smaller than min of 1; node 10 (SaveImage) input images: Required input is missing"},
		{"cycle_0.3.64.json", RejectedError{Type: failed, Message: failedText},
			"ComfyUI refused the workflow: Prompt outputs failed validation"},
		{"cycle_0.33.0.json", RejectedError{Type: failed, Message: failedText, Nodes: []NodeError{{
			Node: "1", Class: "ImageInvert", Type: "dependency_cycle", Message: "Dependency cycle detected", Details: cycle,
		}}}, "ComfyUI refused the workflow: node 1 (ImageInvert): Dependency cycle detected: " + cycle},
		{"image_missing.json", RejectedError{Type: failed, Message: failedText, Nodes: []NodeError{{
			Node: "1", Class: "LoadImage", Type: "custom_validation_failed", Message: "Custom validation failed for node",
			Details: "image - Invalid image file: missing.png", Field: "image", Received: `"missing.png"`,
		}}}, "ComfyUI refused the workflow: node 1 (LoadImage) input image: Custom validation failed for node: image - Invalid image file: missing.png"},
		{"node_errors_a_list.json", RejectedError{Type: "no_prompt", Message: "No prompt provided", Details: "No prompt provided"},
			"ComfyUI refused the workflow: No prompt provided: No prompt provided"},
		{"accepted_in_part.json", RejectedError{Nodes: []NodeError{inPart}},
			"ComfyUI refused the workflow: node 3 (SaveImage) input images: Required input is missing"},
		{"not_json.txt", RejectedError{Message: "<html>proxy says no</html>"},
			"ComfyUI refused the workflow: <html>proxy says no</html>"},
	}
	covered := map[string]bool{}
	for _, tt := range tests {
		covered[tt.fixture] = true
		t.Run(tt.fixture, func(t *testing.T) {
			got := decodeRejection(fixture(t, "rejection/"+tt.fixture), graph{"7": "NoSuchNode"})
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("rejection (-want +got):\n%s", diff)
			}
			if got.Error() != tt.text {
				t.Errorf("text %q, want %q", got.Error(), tt.text)
			}
		})
	}
	files, err := filepath.Glob("testdata/rejection/*")
	if err != nil || len(files) != len(covered) {
		t.Errorf("%d fixtures (%v), %d of them are looked at", len(files), err, len(covered))
	}
}

func TestRejectionIsBounded(t *testing.T) {
	long := strings.Repeat("x", 5000)
	nodes := map[string]any{}
	for i := range 100 {
		nodes[strconv.Itoa(i)] = map[string]any{"class_type": long, "errors": []any{map[string]any{
			"type": "value_not_in_list", "message": long, "details": long,
			"extra_info": map[string]any{"input_name": "x", "received_value": long, "input_config": []any{[]any{long}}},
		}}}
	}
	body, err := json.Marshal(map[string]any{"node_errors": nodes})
	if err != nil {
		t.Fatal(err)
	}
	e := decodeRejection(body, nil)
	if len(e.Nodes) != rejectedNodes {
		t.Errorf("%d nodes are kept, want %d", len(e.Nodes), rejectedNodes)
	}
	if text := e.Error(); len(text) > 64<<10 || !strings.HasSuffix(text, "; and 59 more") {
		t.Errorf("the text has %d bytes and ends in %q", len(text), text[len(text)-20:])
	}
}

func FuzzRejection(f *testing.F) {
	entries, err := os.ReadDir("testdata/rejection")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		f.Add(fixture(f, "rejection/"+e.Name()))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e := decodeRejection(body, graph{"1": "A"})
		if e.Error() == "" || len(e.Nodes) > rejectedNodes {
			t.Errorf("%q became %+v", body, e)
		}
		for _, n := range e.Nodes {
			if len(n.Allowed) > allowedValues || len(n.Allowed) > n.Choices {
				t.Errorf("%d values are kept of %d", len(n.Allowed), n.Choices)
			}
		}
	})
}
