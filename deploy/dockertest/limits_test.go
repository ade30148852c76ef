//go:build docker

package dockertest

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// A node takes more memory than the container has: the job says so, and the pod
// goes on.
func TestOutOfMemoryIsNamed(t *testing.T) {
	c := start(t, sim, "--memory", "300m", "--memory-swap", "300m")
	c.waitReady()
	a := c.post("/runsync", node("SimLeak", `{"mb":800}`))
	if a.Status != "FAILED" || a.Output.Cause != "comfyui_oom_killed" || !strings.Contains(a.Error, "limit 300.0 MiB") {
		t.Errorf("a job with too little memory: %s, cause %q, error %q; want FAILED by comfyui_oom_killed with the limit", a.Status, a.Output.Cause, a.Error)
	}
	c.waitReady()
	c.wantPicture(c.post("/runsync", example(t)))
	c.wantNoZombies()
	if got := c.inspect("{{.RestartCount}} {{.State.Running}}"); got != "0 true" {
		t.Errorf("restarts and running: %s, want 0 true", got)
	}
}

// A node starts processes until the container may have no more: comfyvisor lives,
// and the next job is done.
func TestForkBombInANode(t *testing.T) {
	c := start(t, sim, "--pids-limit", "120")
	c.waitReady()
	a := c.post("/runsync", node("SimFork", `{"count":1000,"setsid":true}`))
	if a.Status != "FAILED" {
		t.Errorf("the fork bomb: %+v, want FAILED", a)
	}
	c.wantPicture(c.post("/runsync", example(t)))
	// What it has started lives as long as this ComfyUI, and no longer.
	if err := syscall.Kill(c.find("/fakecomfy --disable").pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.eventually("room for processes", func() error {
		_, err := docker(t.Context(), "exec", c.id, "/comfyvisor", "version")
		return err
	})
	c.waitReady()
	c.wantPicture(c.post("/runsync", example(t)))
	c.wantNoZombies()
	if took, code := c.stop(10 * time.Second); code != "0" {
		t.Errorf("it stopped after %v with %s, want 0", took, code)
	}
}
