package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// warmUpFiles writes files and returns their directory.
func warmUpFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// colours are those of the pictures that were painted, in order.
func colours(runs []comfytest.Execution) (all []int) {
	for _, e := range runs {
		if m := colourOf.FindSubmatch(e.Workflow); m != nil {
			all = append(all, int(m[1][0]-'0'))
		}
	}
	return all
}

var colourOf = regexp.MustCompile(`"color": ?(\d)`)

// Each ComfyUI runs the warm-ups before its first job, and nothing of what they
// make is left.
func TestWarmUpComesBeforeTheFirstJobOfEachComfyUI(t *testing.T) {
	t.Parallel()
	dir := warmUpFiles(t, map[string]string{"a.json": picture(1), "b.json": `{"input":` + picture(2) + `}`, "notes.txt": "none of ours"})
	p := start(t, options{env: with(local, "WARMUP_WORKFLOW", dir)})
	p.waitReady()
	p.job(picture(3))
	if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.waitLine("process exited", "SIGKILL")
	if a := p.job(picture(4)); a.Status != "COMPLETED" || a.Output.Images[0].Filename != "ComfyUI_00001_.png" {
		t.Errorf("answer = %+v", a)
	}
	if got, want := colours(p.executions()), []int{1, 2, 3, 1, 2, 4}; !slices.Equal(got, want) {
		t.Errorf("executed %v, want %v", got, want)
	}
	p.signal(syscall.SIGTERM) // a job is cleared away after its answer
	p.exit()
	if left, _ := filepath.Glob(filepath.Join(p.dir, "output", "*", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// While the warm-up raises no job is taken, the reason is told, once, and
// ComfyUI is left alone and asked again.
func TestFailingWarmUpTakesNoJob(t *testing.T) {
	t.Parallel()
	dir := warmUpFiles(t, map[string]string{"bad.json": simulated("SimRaise", `{"message":"no such model"}`)})
	p, q := queued(t, runpodtest.Config{Hold: patience}, "WARMUP_WORKFLOW", filepath.Join(dir, "bad.json"))
	q.Submit("a", picture(1))
	p.waitLine("warm-up failed", "no such model", "bad.json")
	p.executed(3)
	var ready struct{ Reason string }
	if code := p.get(p.status+"/readyz", &ready); code != http.StatusServiceUnavailable || !hasAll(ready.Reason, []string{"bad.json", "no such model"}) {
		t.Errorf("/readyz says %d: %+v", code, ready)
	}
	if n := len(q.Ledger().Takes); n != 0 {
		t.Errorf("%d takes", n)
	}
	log := p.log()
	if told := strings.Count(log, "warm-up failed"); told != 1 {
		t.Errorf("told %d times", told)
	}
	if strings.Contains(log, "process exited") {
		t.Error("ComfyUI was restarted")
	}
}

// A ComfyUI that is killed while it warms up is started again, and warms up
// again; one that dies of it each time is given up.
func TestDeathWhileWarmingUp(t *testing.T) {
	t.Parallel()
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		dir := warmUpFiles(t, map[string]string{"w.json": slow(1, 1)})
		p := start(t, options{env: with(local, "WARMUP_WORKFLOW", dir)})
		p.waitLine("comfyui |", "got prompt")
		if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		p.waitReady()
		if a := p.job(picture(1)); a.Status != "COMPLETED" {
			t.Errorf("answer = %+v", a)
		}
	})
	t.Run("each time", func(t *testing.T) {
		t.Parallel()
		dir := warmUpFiles(t, map[string]string{"w.json": simulated("SimDie", `{"how":"sigsegv"}`)})
		p := start(t, options{env: with(local, "WARMUP_WORKFLOW", dir, "RESTART_BOOT_FAILURES", "3")})
		if code := p.exit(); code != exitGaveUp {
			t.Errorf("exit code = %d, want %d", code, exitGaveUp)
		}
		p.waitsFor("crash loop", "SIGSEGV")
	})
}

func TestBadWarmUpIsAFaultOfTheConfiguration(t *testing.T) {
	t.Parallel()
	dir := warmUpFiles(t, map[string]string{"good.json": picture(1), "text.json": "hello", "empty.json": `{"input":{}}`})
	tests := []struct {
		name, path string
		says       []string
	}{
		{"missing", "/no/such/file.json", []string{"/no/such/file.json", "no such file"}},
		{"no files", t.TempDir(), []string{"no *.json"}},
		{"bad files", dir, []string{"text.json", "JSON", "empty.json", "workflow is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: with(local, "WARMUP_WORKFLOW", tt.path)})
			if code := p.exit(); code != exitConfig {
				t.Errorf("exit code = %d, want %d", code, exitConfig)
			}
			p.waitsFor(append(tt.says, "WARMUP_WORKFLOW")...)
			if strings.Contains(p.log(), "good.json") {
				t.Error("a good file is blamed")
			}
		})
	}
}
