package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// panicDir names a directory in which the files of breakParts lie.
const panicDir = "COMFYVISOR_TEST_PANICS"

// The program under test panics in a part as long as a file of that name tells
// a number, which each panic lowers.
func init() {
	dir := os.Getenv(panicDir)
	if dir == "" {
		return
	}
	faultPoint = func(part string) {
		file := filepath.Join(dir, part)
		raw, err := os.ReadFile(file)
		if err != nil {
			return
		}
		if n, _ := strconv.Atoi(string(raw)); n > 0 {
			if err := os.WriteFile(file, []byte(strconv.Itoa(n-1)), 0o600); err != nil {
				panic(err)
			}
			panic("injected into " + part)
		}
	}
}

// breakPart makes a part panic so many times.
func breakPart(t *testing.T, dir, part string, times int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, part), []byte(strconv.Itoa(times)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every actor of the program panics when it begins: each is started again, the stack is logged, and jobs are done.
func TestFault_P12_PanicOfEachActorIsSurvived(t *testing.T) {
	t.Parallel()
	parts := []string{"worker", "source", "preflight", "comfyui", "decoy", "status", "reaper", "health",
		"heartbeat", "stop channel", "progress", "answers"} // of the source
	dir := t.TempDir()
	for _, part := range parts {
		breakPart(t, dir, part, 1)
	}
	p, q := queued(t, runpodtest.Config{Hold: time.Second}, panicDir, dir)
	q.Submit("a", picture(1))
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Errorf("job: %s %s", o.Status, o.Error)
	}
	for _, part := range parts {
		p.waitLine("panic", `"injected into `+part+`"`, "goroutine")
	}
	if err := q.Check(); err != nil {
		t.Error(err)
	}
}

// A panic while a job runs, in whatever is called for it or beside it, costs no job: the part goes on, or the job runs again on a fresh ComfyUI, and the stack is logged.
func TestFault_P12_PanicWhileAJobRunsIsSurvived(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, q := queued(t, runpodtest.Config{Hold: time.Second}, panicDir, dir, "LIVENESS_INTERVAL", "100ms")
	for i, part := range []string{"observer", "lines", "take", "transitions", "probe"} {
		id := strconv.Itoa(i)
		q.Submit(id, slow(1, i))
		p.waitLine("job taken", `"requestId":"`+id+`"`)
		breakPart(t, dir, part, 1)
		if o := ends(t, q, id); o.Status != runpodtest.Completed {
			t.Errorf("job during the panic of %s: %s %s", part, o.Status, o.Error)
		}
		if part == "transitions" {
			q.Submit("poison", simulated("SimDie", `{"how":"sigkill"}`))
		}
		p.waitLine("panic", `"injected into `+part+`"`, "goroutine")
	}
	q.Submit("last", picture(1))
	if o := ends(t, q, "last"); o.Status != runpodtest.Completed {
		t.Errorf("last job: %s %s", o.Status, o.Error)
	}
	if err := q.Check(); err != nil {
		t.Error(err)
	}
}

// A panic while a result is delivered: the job fails with supervisor_panic, and the next one is done.
func TestFault_P12_PanicDuringDeliveryFailsTheJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	breakPart(t, dir, "deliver", 1)
	p, q := queued(t, runpodtest.Config{Hold: time.Second}, panicDir, dir)
	q.Submit("a", picture(1))
	if o := ends(t, q, "a"); o.Status != runpodtest.Failed || !strings.Contains(string(o.Output), "supervisor_panic") {
		t.Errorf("job a: %s %s", o.Status, o.Output)
	}
	q.Submit("b", picture(2))
	if o := ends(t, q, "b"); o.Status != runpodtest.Completed {
		t.Errorf("job b: %s %s", o.Status, o.Error)
	}
	p.waitLine("panic while a job was delivered", "injected")
	if err := q.Check(); err != nil {
		t.Error(err)
	}
}

// A part that panics twice within a minute ends the pod in order, with exit code 70: the job at hand gets its outcome, and ComfyUI is stopped.
func TestFault_P12_SecondPanicEndsThePodInOrder(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"probe", "observer"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p, q := queued(t, runpodtest.Config{Hold: time.Second}, panicDir, dir, "LIVENESS_INTERVAL", "100ms")
			q.Submit("a", slow(3, 1))
			p.waitLine("got prompt")
			breakPart(t, dir, part, 2)
			if code := p.exit(); code != exitInternal {
				t.Errorf("exit code = %d, want %d", code, exitInternal)
			}
			if o := ends(t, q, "a"); o.Status == "" {
				t.Errorf("job a: %+v", o)
			}
			if err := q.Check(); err != nil {
				t.Error(err)
			}
			if left := p.left(); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			p.waitsFor("twice within", "comfyvisor ends")
		})
	}
}
