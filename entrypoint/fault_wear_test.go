package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// confined starts comfyvisor, as it is shipped, in a memory cgroup of so many
// MiB with ComfyUI.
func confined(t *testing.T, limit int, env map[string]string) *program {
	t.Helper()
	binary, err := comfyvisor()
	if err != nil {
		t.Fatal(err)
	}
	group := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("comfyvisor-%d-%s", os.Getpid(), t.Name()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no memory cgroup of version 1 that we may use: %v", err)
	}
	t.Cleanup(func() { removeGroup(t, group) })
	if err := os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), fmt.Append(nil, limit<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "comfyvisor")
	text := fmt.Sprintf("#!/bin/sh\necho 0 >%s/cgroup.procs\nexec %s \"$@\"\n", group, binary)
	writeScript(t, script, text)
	return start(t, options{env: env, binary: script})
}

// removeGroup removes a cgroup, which is in use until the kernel has cleared
// away the last process.
func removeGroup(t *testing.T, group string) {
	deadline := time.After(patience)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		err := os.Remove(group)
		if !errors.Is(err, syscall.EBUSY) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("remove cgroup: %v", err)
			return
		}
	}
}

// A node leaks memory, more in all than the container has: ComfyUI is restarted
// between jobs before the limit is met, and no job is lost to the kernel.
func TestFault_C12_LeakNeverMeetsTheLimit(t *testing.T) {
	t.Parallel()
	p := confined(t, 256, with(local, "RESTART_AT_MEMORY", "0.6"))
	p.waitReady()
	for i := range 8 {
		if a := p.job(simulated("SimLeak", fmt.Sprintf(`{"mb":60,"seed":%d}`, i))); a.Status != "COMPLETED" {
			t.Fatalf("job %d: %+v", i, a)
		}
	}
	p.waitLine("ComfyUI is replaced between jobs", "RESTART_AT_MEMORY")
	if strings.Contains(p.log(), "SIGKILL") {
		t.Error("ComfyUI was killed")
	}
	if runs := p.executions(); len(runs) != 8 {
		t.Errorf("%d executions of 8 jobs", len(runs))
	}
}

// The twin: without planned restarts the leak meets the limit; the kernel kills ComfyUI, comfyvisor says so and lives, and the jobs are done all the same.
func TestFault_C12_TwinLeakMeetsTheLimit(t *testing.T) {
	t.Parallel()
	p := confined(t, 256, local)
	p.waitReady()
	for i := range 8 {
		if a := p.job(simulated("SimLeak", fmt.Sprintf(`{"mb":60,"seed":%d}`, i))); a.Status != "COMPLETED" {
			t.Fatalf("job %d: %+v", i, a)
		}
	}
	p.waitLine("process exited", "SIGKILL (out of memory: limit 256.0 MiB")
}

// In a container of 64 MB it is ComfyUI that the kernel kills, again and again, and
// never comfyvisor, which goes on to do the next job.
func TestFault_Z6_NeverTheVictim(t *testing.T) {
	t.Parallel()
	p := confined(t, 64, local)
	p.waitReady()
	for i := range 3 {
		p.job(simulated("SimLeak", fmt.Sprintf(`{"mb":200,"seed":%d}`, i))).wantCause(t, "comfyui_oom_killed")
		p.job(picture(i)).wantDone(t)
	}
}

// Our share is an eighth of the container's memory, and no less than we need.
func TestFault_Z6_MemoryLimitFollowsTheContainer(t *testing.T) {
	t.Parallel()
	for container, want := range map[uint64]int64{64 << 20: 32 << 20, 1 << 30: 128 << 20, 64 << 30: 8 << 30} {
		if got := ownMemory(container); got != want {
			t.Errorf("ownMemory(%d) = %d, want %d", container, got, want)
		}
	}
}

func TestRestartAtMemoryIsAShare(t *testing.T) {
	t.Parallel()
	for value, good := range map[string]bool{"0": true, "0.9": true, "1": true, "1.5": false, "-1": false, "90%": false} {
		cfg, err := configFromEnv([]string{"RESTART_AT_MEMORY=" + value})
		if (err == nil) != good {
			t.Errorf("%s: %v", value, err)
		}
		if want, _ := strconv.ParseFloat(value, 64); good && cfg.Watch.AtMemory != want {
			t.Errorf("%s is read as %v", value, cfg.Watch.AtMemory)
		}
	}
}
