package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var soakControls = flag.Bool("soak.controls", false, "build a comfyvisor without each of its defences and soak it")

// A soakControl is a comfyvisor that lacks one defence. It is made by an overlay
// over the source when it is built, so the program itself has no such switch.
type soakControl struct {
	name     string
	file     string // below the root of the repository
	old, new string
	says     string // what the soak complains about, a regular expression
}

var soakSwitchedOff = []soakControl{
	{"reaper collects every child", "supervisor/reaper.go",
		"if r.own[pid] != nil {", "if false {", "exit status was lost"},
	{"history is not asked", "internal/comfy/client.go",
		"cfg.PollSilent = 2 * time.Second", "cfg.PollSilent = 10000 * time.Hour", "too late|never ended|lawful are"},
	{"output is read to its end", "supervisor/process.go",
		"left := s.reaper.killLeft(cmd.Process.Pid, s.mark())\n\t\tout.finish(s.cfg.WaitDelay)",
		"out.finish(time.Hour)\n\t\tleft := s.reaper.killLeft(cmd.Process.Pid, s.mark())", "too late|does not end"},
	{"results are posted once", "internal/runpod/done.go",
		"if p.over(err, pause) || !sleep(ctx, pause) {", "if p.over(err, pause) || !sleep(ctx, pause) || true {", "forgot it|never ended|too late|lost:"},
	{"jobs share a header", "internal/runpod/post.go",
		`req.Header.Set("X-Request-ID", id)`, `req.Header.Set("X-Request-ID", "shared")`, "queue complains|too late"},
	{"jobs share a folder", "worker/attempt.go",
		`folder: outputRoot + "/" + id,`, `folder: outputRoot + "/shared",`, "ComfyUI made|files, want|lawful are"},
	{"cached outputs are told again", "worker/workflow.go",
		`return folder + "/" + text`, `return text`, "ComfyUI made|files, want|lawful are"},
	{"the gate is always open", "health/gate.go",
		"if g.err() == nil && ctx.Err() == nil {", "if ctx.Err() == nil {", "lawful are|exit code|ended with code"},
	{"what ComfyUI started lives on", "supervisor/process.go",
		"left := s.reaper.killLeft(cmd.Process.Pid, s.mark())", "left := []procEntry(nil)", "belong to nobody"},
}

// A soak that does not notice a missing defence proves nothing. What is switched
// off stands in the source once, so that none is missed when that changes; with
// -soak.controls each is built and soaked, and has to fail.
func TestSoakNoticesWhatIsSwitchedOff(t *testing.T) {
	for _, c := range soakSwitchedOff {
		t.Run(c.name, func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join("..", c.file))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), c.old); n != 1 {
				t.Fatalf("%s has %q %d times, want 1", c.file, c.old, n)
			}
			if *soakControls {
				c.soak(t, source)
			}
		})
	}
}

// soakBudget is how many jobs the soak has to notice, and how long.
const (
	soakBudget      = 3000
	soakBudgetTakes = 5 * time.Minute
)

// soakComplaint is a line of a failed test.
var soakComplaint = regexp.MustCompile(`(?m)^ +[a-z_]+_test\.go:\d+: .*$`)

// soak builds the program without the defence and expects a soak of it to fail.
func (c *soakControl) soak(t *testing.T, source []byte) {
	ctx, cancel := context.WithTimeout(t.Context(), soakBudgetTakes)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestSoakJobsSurviveEverything$", "-test.v", "-test.parallel=4", "-soak.pods=4",
		"-soak.first", "-soak.block=60", "-soak.every=5", "-soak.patience=25s", fmt.Sprintf("-soak.jobs=%d", soakBudget), "-soak.binary="+c.build(t, source))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("%d jobs did not show it", soakBudget)
	}
	complaints := soakComplaint.FindAll(out, -1)
	for _, line := range complaints {
		if regexp.MustCompile(c.says).Match(line) {
			t.Logf("after %v: %.300s", time.Since(begun).Round(time.Second), bytes.TrimSpace(line))
			return
		}
	}
	t.Errorf("the soak failed and said nothing about %q: %.3000q", c.says, complaints)
}

// build compiles the program with the source changed.
func (c *soakControl) build(t *testing.T, source []byte) string {
	t.Helper()
	dir := t.TempDir()
	changed, binary := filepath.Join(dir, "changed.go"), filepath.Join(dir, "comfyvisor")
	original, err := filepath.Abs(filepath.Join("..", c.file))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	write := func(file string, content []byte) {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(changed, bytes.Replace(source, []byte(c.old), []byte(c.new), 1))
	write(filepath.Join(dir, "overlay.json"), overlay)
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}
