package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// throttled makes a control group, of either version, with a tenth of a
// processor, and returns what moves a process into it. It ends with the test.
func throttled(t *testing.T) (add func(pid int)) {
	t.Helper()
	name := "comfyvisor-test-" + strconv.Itoa(os.Getpid())
	for _, v := range []struct{ dir, file, quota string }{
		{"/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "10000"},
		{"/sys/fs/cgroup", "cpu.max", "10000 100000"},
	} {
		group := filepath.Join(v.dir, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			continue
		}
		t.Cleanup(func() { removeGroup(t, group) })
		if tell(group, v.file, v.quota) == nil {
			return func(pid int) {
				t.Helper()
				if err := tell(group, "cgroup.procs", strconv.Itoa(pid)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Skip("no control group for processors can be made here")
	return nil
}

// tell writes to a file of a control group, which has to be there.
func tell(group, file, value string) error {
	f, err := os.OpenFile(filepath.Join(group, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Within a tenth of a processor, for which busy processes compete, heartbeats come at most one period late, a job completes and the stop keeps its budget.
func TestFault_Z7_NoProcessorToSpare(t *testing.T) {
	t.Parallel()
	add := throttled(t)
	binary, err := comfyvisor()
	if err != nil {
		t.Fatal(err)
	}
	const period = 5 * time.Second
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: queueKey, Hold: time.Minute})
	p := start(t, options{env: with(q.Env(), "RUNPOD_PING_INTERVAL", fmt.Sprint(period.Milliseconds())), binary: binary})
	p.waitReady()
	for _, pid := range []int{p.cmd.Process.Pid, p.comfyPID()} {
		add(pid)
	}
	for range 2 {
		spin := exec.Command("sh", "-c", fmt.Sprintf("while kill -0 %d; do :; done", os.Getpid())) // not longer than the test
		if err := spin.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = spin.Process.Kill(); _ = spin.Wait() })
		add(spin.Process.Pid)
	}
	waitPings(t, q, 2)
	q.Submit("a", picture(1))
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Errorf("job a: %+v", o)
	}
	beats := q.Ledger().Pings
	for i := 1; i < len(beats); i++ {
		if gap := beats[i].At.Sub(beats[i-1].At); gap > 2*period {
			t.Errorf("%v between two heartbeats", gap)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}
