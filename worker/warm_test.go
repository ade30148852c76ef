package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// warming is a pod whose gate is closed, with a warm-up.
func warming(t *testing.T, input string) (*pod, WarmUp) {
	t.Helper()
	p := startPod(t, comfytest.Config{}, nil)
	p.slot.Gate.Close(errors.New("warming up"))
	u, err := ParseWarmUp([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return p, u
}

// A warm-up runs, again and again if need be, and leaves neither files nor
// history nor a word to the source.
func TestWarmLeavesNothing(t *testing.T) {
	p, u := warming(t, picture(1))
	for range 2 {
		if err := p.worker.Warm(t.Context(), p.slot, u); err != nil {
			t.Fatal(err)
		}
	}
	p.ranOnce(2)
	if n := entries(t, p.comfy.OutputDir()); n != 0 {
		t.Errorf("%d files are left", n)
	}
	if n := p.comfy.HistorySize(); n != 0 {
		t.Errorf("%d prompts are left in the history", n)
	}
	if len(p.source.told) != 0 || p.worker.Active() != 0 {
		t.Errorf("the source was told %v, %d jobs are at hand", p.source.told, p.worker.Active())
	}
}

// What is wrong with the workflow is told as such, and what is wrong with the
// process too.
func TestWarmTellsWhoFailed(t *testing.T) {
	tests := []struct {
		name, input string
		process     bool
		says        string
	}{
		{"refused", simulated("NoSuchNode", `{}`), false, "NoSuchNode"},
		{"raises", simulated("SimRaise", `{"message":"boom"}`), false, "boom"},
		{"dies", die("sigkill"), true, "SIGKILL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, u := warming(t, tt.input)
			ctx, end := context.WithCancelCause(t.Context())
			defer end(nil)
			process := p.comfy.Comfy()
			go func() {
				<-process.Done()
				end(death{})
			}()
			err := p.worker.Warm(ctx, p.slot, u)
			if err == nil || errors.Is(err, ErrProcess) != tt.process || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error = %v, want one of the process: %v, that says %q", err, tt.process, tt.says)
			}
		})
	}
}

func TestParseWarmUp(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "examples", "txt2img.json"))
	if err != nil {
		t.Fatal(err)
	}
	const graph = `{"7":{"class_type":"SaveImage","inputs":{}}}`
	tests := []struct {
		name, raw, fault string
	}{
		{"workflow", graph, ""},
		{"input", `{"workflow":` + graph + `}`, ""},
		{"job", `{"input":{"workflow":` + graph + `}}`, ""},
		{"example", string(example), ""},
		{"nothing", ``, "as JSON"},
		{"list", `[]`, "as JSON"},
		{"empty", `{}`, "no nodes"},
		{"editor's own", `{"nodes":[],"links":[]}`, "Export (API)"},
		{"job without workflow", `{"input":{}}`, "workflow is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseWarmUp([]byte(tt.raw))
			if (err != nil) != (tt.fault != "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("error = %v, want %q", err, tt.fault)
			}
		})
	}
}
