//go:build gpu

package gputest

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/gpuerror"
)

// What CUDA says in earnest is judged as what it is: the process is replaced if it
// could not use its GPU afterwards, and not if it could.
func TestVerdicts(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "python3", testdata(t, "faults.py"))
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	out := create(t, "faults.json")
	defer out.Close()
	if _, err := out.Write(text); err != nil {
		t.Fatal(err)
	}
	var all []struct {
		ID, Type, Message, After string
		Died                     any
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		f := gpuerror.Exception(one.Type, one.Message)
		replaced := f.Verdict >= gpuerror.Restart
		poisoned := one.After != ""
		t.Logf("%-30s %-8s poisoned %-5t died %v | %s: %.120q", one.ID, f.Verdict, poisoned, one.Died, one.Type, one.Message)
		if one.Died != nil { // ComfyUI would have been started again
			continue
		}
		if one.Type == "" {
			t.Errorf("%s raised nothing", one.ID)
		}
		if f.Verdict != gpuerror.Suspect && replaced != poisoned {
			t.Errorf("%s: verdict %s, and the GPU works afterwards: %t", one.ID, f.Verdict, !poisoned)
		}
	}
	if len(all) < 20 {
		t.Errorf("%d faults were tried, want all", len(all))
	}
}
