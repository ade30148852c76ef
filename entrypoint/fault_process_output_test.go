package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// untilReady waits until /readyz says so, for programs whose log is not seen.
func (p *program) untilReady() {
	p.t.Helper()
	late := time.After(patience)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		resp, err := client.Get(p.status + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				tick.Stop()
				return
			}
		}
		select {
		case <-tick.C:
		case <-p.ended:
			p.t.Fatalf("comfyvisor ended with code %d", p.code)
		case <-late:
			p.t.Fatalf("not ready: %v", err)
		}
	}
}

// startWithPipe starts a program whose standard output is a pipe, and returns the
// end to read from.
func startWithPipe(t *testing.T) (*program, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	p := start(t, options{env: local, stdout: w})
	_ = w.Close()
	p.untilReady()
	return p, r
}

// chatty is the input of a job that logs far more than a pipe holds.
var chatty = simulated("SimLog", `{"lines":3000,"bytes":200}`)

// Nobody reads the program's standard output: jobs that log a lot are done, and the stop is in time.
func TestFault_C14_JobsWithUnreadStdout(t *testing.T) {
	t.Parallel()
	p, _ := startWithPipe(t)
	for range 3 {
		if a := p.job(chatty); a.Status != "COMPLETED" {
			t.Errorf("job: %+v", a)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}

// The reader of the program's standard output goes away: it lives on, jobs are done, and the stop is in order.
func TestFault_C15_JobsWithClosedStdout(t *testing.T) {
	t.Parallel()
	p, r := startWithPipe(t)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if a := p.job(chatty); a.Status != "COMPLETED" {
			t.Errorf("job: %+v", a)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}

// A node writes a line without end: what is relayed of it is bounded and says so.
func TestFault_C13_CutLineSaysSo(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	if a := p.job(simulated("SimLog", `{"lines":1,"bytes":300000}`)); a.Status != "COMPLETED" {
		t.Errorf("job: %+v", a)
	}
	if line := p.waitLine("comfyui |", "the line goes on"); len(line) > 70_000 {
		t.Errorf("%d bytes of the line are relayed, want 64 KiB", len(line))
	}
}

// A job makes ComfyUI grow until the kernel kills it: it runs once more, and then fails with comfyui_oom_killed, the limit and the peak; comfyvisor lives.
func TestFault_C1_JobThatEatsThePodsMemory(t *testing.T) {
	t.Parallel()
	group := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("comfyvisor-pod-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no memory cgroup of version 1, or no right to make one: %v", err)
	}
	t.Cleanup(func() { removeGroup(t, group) }) // runs when the program has ended
	write := func(name, value string) {
		if err := os.WriteFile(filepath.Join(group, name), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, options{env: local})
	p.waitReady()
	write("memory.limit_in_bytes", "500M")
	write("cgroup.procs", fmt.Sprint(p.cmd.Process.Pid))
	if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil { // the next one is born in the group
		t.Fatal(err)
	}
	p.waitLine("process running", `"incarnation": 2`)
	a := p.job(simulated("SimLeak", `{"mb":4000}`))
	if a.Status != "FAILED" || a.Output.Cause != "comfyui_oom_killed" || !hasAll(a.Error, []string{"out of memory", "limit 500.0 MiB", "peak"}) {
		t.Errorf("job: %+v", a)
	}
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("the next job: %+v", a)
	}
	if n := strings.Count(p.log(), `"oom": true`); n != 2 {
		t.Errorf("%d deaths are told as out of memory, want 2", n)
	}
}
