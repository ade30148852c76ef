package worker

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustParse(t *testing.T, text string) workflow {
	t.Helper()
	wf, err := parseWorkflow(json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	return wf
}

func TestForAttemptRewritesNamesOnly(t *testing.T) {
	wf := mustParse(t, `{
		"1":{"class_type":"LoadImage","inputs":{"image":"a.png","n":9007199254740993},"_meta":{"title":"In"},"is_changed":["x"]},
		"2":{"class_type":"LoadImage","inputs":{"image":"b.png [input]"}},
		"3":{"class_type":"LoadImage","inputs":{"image":"other.png"}},
		"4":{"class_type":"CLIPTextEncode","inputs":{"text":"a photo of a.png"}},
		"5":{"class_type":"SaveImage","inputs":{"filename_prefix":"ComfyUI","images":["1",0]}},
		"6":{"class_type":"SaveImage","inputs":{"filename_prefix":"sub/x_%width%","images":["2",0]}},
		"7":{"class_type":"SaveImage","inputs":{"filename_prefix":["4",0],"images":["2",0]}},
		"8":{"class_type":"SaveImage","inputs":{"filename_prefix":"../out","images":["2",0]}},
		"9":{"class_type":"SaveImage","inputs":{"filename_prefix":"a/../../out","images":["2",0]}},
		"10":{"class_type":"SaveImage","inputs":{"filename_prefix":"/abs","images":["2",0]}},
		"11":{"class_type":"SaveImage","inputs":{"filename_prefix":"","images":["2",0]}}}`)
	got, err := wf.forAttempt("F", map[string]string{"a.png": "p_a.png", "b.png": "p_b (1).png"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{
		"1":{"class_type":"LoadImage","inputs":{"image":"p_a.png","n":9007199254740993},"_meta":{"title":"In"},"is_changed":["x"]},
		"2":{"class_type":"LoadImage","inputs":{"image":"p_b (1).png"}},
		"3":{"class_type":"LoadImage","inputs":{"image":"other.png"}},
		"4":{"class_type":"CLIPTextEncode","inputs":{"text":"a photo of a.png"}},
		"5":{"class_type":"SaveImage","inputs":{"filename_prefix":"F/ComfyUI","images":["1",0]}},
		"6":{"class_type":"SaveImage","inputs":{"filename_prefix":"F/sub/x_%width%","images":["2",0]}},
		"7":{"class_type":"SaveImage","inputs":{"filename_prefix":["4",0],"images":["2",0]}},
		"8":{"class_type":"SaveImage","inputs":{"filename_prefix":"../out","images":["2",0]}},
		"9":{"class_type":"SaveImage","inputs":{"filename_prefix":"a/../../out","images":["2",0]}},
		"10":{"class_type":"SaveImage","inputs":{"filename_prefix":"/abs","images":["2",0]}},
		"11":{"class_type":"SaveImage","inputs":{"filename_prefix":"F/","images":["2",0]}}}`
	if diff := cmp.Diff(numbers(t, []byte(want)), numbers(t, got)); diff != "" {
		t.Errorf("graph (-want +got):\n%s", diff)
	}
}

// numbers decodes JSON without rounding: seeds are larger than a float holds.
func numbers(t *testing.T, raw []byte) map[string]map[string]json.RawMessage {
	t.Helper()
	var v map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	for _, n := range v {
		for k, raw := range n {
			var canonical map[string]json.RawMessage
			if json.Unmarshal(raw, &canonical) == nil {
				n[k], _ = json.Marshal(canonical)
			}
		}
	}
	return v
}

func TestOwnSubfolder(t *testing.T) {
	a := newAttempt("j", 1)
	for in, want := range map[string]string{
		a.folder:            "",
		a.folder + "/video": "video",
		a.folder + "/a/b":   "a/b",
		"":                  "",
		"elsewhere":         "elsewhere",
		"x/" + a.folder:     "x/" + a.folder,
	} {
		if got := a.ownSubfolder(in); got != want {
			t.Errorf("ownSubfolder(%q) = %q, want %q", in, got, want)
		}
	}
}

// Two attempts, and two jobs, share no name in ComfyUI.
func TestAttemptsShareNoNames(t *testing.T) {
	seen := make(map[string]string)
	for _, id := range []string{"a", "b", "a\n", "a/1", "../../a"} {
		for n := 1; n <= 2; n++ {
			a := newAttempt(id, n)
			for _, name := range []string{a.folder, a.prefix} {
				if other, taken := seen[name]; taken {
					t.Errorf("%q of job %q is also that of %s", name, id, other)
				}
				seen[name] = id
			}
			if len(a.prefix) != namePrefixBytes {
				t.Errorf("prefix %q has %d bytes, want %d", a.prefix, len(a.prefix), namePrefixBytes)
			}
		}
	}
}
