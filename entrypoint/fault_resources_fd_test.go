package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitFiles sets how many file descriptors a process may have open, and returns
// what it was before.
func limitFiles(t *testing.T, pid int, limit uint64) (before uint64) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: was.Max}, nil); err != nil {
		t.Fatal(err)
	}
	return was.Cur
}

// quietLog is how many lines comfyvisor may log in a few seconds of an outage.
const quietLog = 200

// Without a file descriptor to spare, comfyvisor neither ends nor logs without end nor uses the processor; when they are back the job that ended meanwhile is delivered, and the next one completes.
func TestFault_Z3_NoDescriptors(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	id := p.submit(slow(2, 1))
	p.waitLine("comfyui |", "got prompt")
	pid, comfy := p.cmd.Process.Pid, p.comfyPID()

	before := limitFiles(t, pid, 3)
	restore := sync.OnceFunc(func() { limitFiles(t, pid, before) })
	defer restore() // else it could not even stop
	lines, spent := strings.Count(p.log(), "\n"), cpuTime(t, pid)
	p.unanswered(5 * time.Second) // the job ends in the middle of it
	if n := strings.Count(p.log(), "\n") - lines; n > quietLog {
		t.Errorf("%d lines were logged, want at most %d:\n%s", n, quietLog, p.log())
	}
	if used := cpuTime(t, pid) - spent; used > 3*time.Second {
		t.Errorf("the processor was used for %v of 5 s", used)
	}
	restore()

	p.result(id).wantDone(t)
	p.job(picture(2)).wantDone(t)
	if now := p.comfyPID(); now != comfy {
		t.Errorf("ComfyUI was restarted: pid %d, then %d", comfy, now)
	}
	if strings.Contains(p.log(), "panic") {
		t.Error("something panicked")
	}
}

// unanswered asks for the state until d is over, and fails the test if there
// ever is an answer.
func (p *program) unanswered(d time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), d)
	defer cancel()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.status+"/healthz", nil)
		if err != nil {
			p.t.Fatal(err)
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			p.t.Fatal("comfyvisor has a descriptor for a connection")
		}
	}
}

// cpuTime is how long a process has used the processors.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}
