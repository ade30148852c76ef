package console

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/docs"
)

// The page says what failed, and what to do about it, in the words of the
// document.
func TestCausesAreThoseOfTheDocument(t *testing.T) {
	var got map[string][]string
	text := strings.TrimPrefix(string(causesOf(docs.Errors)), "export const causes = ")
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if rows := strings.Count(docs.Errors, "\n| `"); len(got) != rows || rows < 20 {
		t.Errorf("%d causes, %d rows in the document", len(got), rows)
	}
	for cause, words := range got {
		if strings.ContainsAny(cause, "` |") || len(words) != 2 || words[0] == "" || words[1] == "" || strings.ContainsAny(words[0], "`|.") {
			t.Errorf("%q: %q", cause, words)
		}
	}
	if want := []string{"The GPU's memory was full", "Use a smaller size"}; got["gpu_out_of_memory"] == nil ||
		got["gpu_out_of_memory"][0] != want[0] || !strings.HasPrefix(got["gpu_out_of_memory"][1], want[1]) {
		t.Errorf("gpu_out_of_memory: %q", got["gpu_out_of_memory"])
	}
}
