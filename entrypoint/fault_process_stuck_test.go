package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// ComfyUI hangs in the kernel, as it does when the GPU's driver does, while it runs a job: no second one is started beside it, the job fails with comfyui_unkillable, the queue is told, and the pod ends with 75.
func TestFault_C9_UnkillableComfyUIEndsThePod(t *testing.T) {
	t.Parallel()
	group := filepath.Join("/sys/fs/cgroup/freezer", fmt.Sprintf("comfyvisor-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no freezer cgroup of version 1 that we may use: %v", err)
	}
	t.Cleanup(func() { removeGroup(t, group) })
	set := func(name, value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(group, name), []byte(value), 0o644); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { set("freezer.state", "THAWED") }) // SIGKILL is pending
	p, q := queued(t, runpodtest.Config{Hold: hold}, "COMFY_STOP_GRACE", "100ms",
		"LIVENESS_INTERVAL", "100ms", "LIVENESS_FAILURES", "1", "LIVENESS_SILENCE", "1s")
	p.waitReady()
	q.Submit("done", picture(1))
	q.Submit("held", slow(600, 2))
	p.waitLines(2, "got prompt")
	set("cgroup.procs", strconv.Itoa(p.comfyPID()))
	set("freezer.state", "FROZEN")
	q.Submit("other", picture(3))
	if code := p.exit(); code != exitGaveUp {
		t.Errorf("exit code = %d, want %d", code, exitGaveUp)
	}
	if o := ends(t, q, "done"); o.Status != runpodtest.Completed {
		t.Errorf("the job before: %+v", o)
	}
	if o := ends(t, q, "held"); o.Status != runpodtest.Failed || !hasAll(string(o.Output)+o.Error, []string{"comfyui_unkillable", "cannot be killed"}) {
		t.Errorf("the job at hand: %s %s %s", o.Status, o.Error, o.Output)
	}
	if n := strings.Count(p.log(), "process running"); n != 1 {
		t.Errorf("ComfyUI was started %d times, want once", n)
	}
	l := q.Ledger()
	if l.Waiting != 1 {
		t.Errorf("%d jobs wait, want the one that came later", l.Waiting)
	}
	if last := l.Pings[len(l.Pings)-1]; last.Unhealthy == "" {
		t.Error("the queue was not told that the pod is unhealthy")
	}
	checked(t, q)
}

// ComfyUI dies while it runs a job and cannot start again: the job is not left without an end but fails with comfyui_boot_failed and ComfyUI's last lines, before the pod ends with 75.
func TestFault_C3_JobAtHandFailsWithTheCrashLoop(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "script.json")
	crash := `{"exit":1,"print":"ModuleNotFoundError: No module named 'torchsde'\n"}`
	if err := os.WriteFile(script, []byte("[{}"+strings.Repeat(","+crash, 9)+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, q := queued(t, runpodtest.Config{Hold: hold}, "SIMCOMFY_SCRIPT", script)
	p.waitReady()
	q.Submit("held", slow(600, 1))
	p.waitLine("got prompt")
	if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	q.Submit("other", picture(2))
	if code := p.exit(); code != exitGaveUp {
		t.Errorf("exit code = %d, want %d", code, exitGaveUp)
	}
	if o := ends(t, q, "held"); o.Status != runpodtest.Failed || !hasAll(string(o.Output)+o.Error, []string{"comfyui_boot_failed", "crash loop", "torchsde"}) {
		t.Errorf("the job at hand: %s %s %s", o.Status, o.Error, o.Output)
	}
	if n := q.Ledger().Waiting; n != 1 {
		t.Errorf("%d jobs wait, want the one that came later", n)
	}
	checked(t, q)
}

// A kernel's assertion is told by a line before the node raises it. The process is replaced, and the job that did it twice fails with the node that it is of.
func TestFault_C10_AssertionOfAKernelNamesItsNode(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: hold})
	p.waitReady()
	q.Submit("asserts", simulated("SimRaise", `{"exception_type":"torch.AcceleratorError","message":"CUDA error: device-side assert triggered","stderr":"/pytorch/aten/src/ATen/native/cuda/IndexKernel.cu:111: operator(): block: [0,0,0], thread: [0,0,0] Assertion `+"`index < sizes[i]`"+` failed."}`))
	q.Submit("next", picture(1))
	if o := ends(t, q, "asserts"); causeOf(o) != "node_failed" || !strings.Contains(o.Error, "node 7") {
		t.Errorf("asserts: %s %s %s", o.Status, o.Error, o.Output)
	}
	if o := ends(t, q, "next"); o.Status != "COMPLETED" {
		t.Errorf("next: %s %s", o.Status, o.Error)
	}
	if in := p.instances(); in[0].Incarnation != 3 {
		t.Errorf("ComfyUI was started %d times, want 3", in[0].Incarnation)
	}
	checked(t, q)
}

// sticky is a job that poisons the GPU's context of the process that runs it.
func sticky(seed int) string {
	return simulated("SimRaise", fmt.Sprintf(`{"exception_type":"torch.AcceleratorError","message":"CUDA error: an illegal memory access was encountered","seed":%d}`, seed))
}

// Two jobs poison the GPU's context one after the other, whatever process they run in: the host is at fault, and the pod ends with 75. The second job fails as gpu_poisoned and may be tried again, the third is left to other pods.
func TestFault_C10_HostAtFaultEndsThePod(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: hold})
	p.waitReady()
	for n, id := range []string{"first", "second"} {
		q.Submit(id, sticky(n))
	}
	q.Submit("third", picture(3))
	if code := p.exit(); code != exitGaveUp {
		t.Errorf("exit code = %d, want %d", code, exitGaveUp)
	}
	p.waitsFor("the host is at fault")
	if o := ends(t, q, "first"); causeOf(o) != "node_failed" {
		t.Errorf("first: %+v", o)
	}
	if o := ends(t, q, "second"); causeOf(o) != "gpu_poisoned" || !strings.Contains(string(o.Output), `"retryable":true`) {
		t.Errorf("second: %s %s %s", o.Status, o.Error, o.Output)
	}
	if n := q.Ledger().Waiting; n != 1 {
		t.Errorf("%d jobs wait, want the third", n)
	}
	checked(t, q)
}
