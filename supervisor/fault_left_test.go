package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crashed kills the process, and nothing but it, and returns its exit.
func (r *rig) crashed() Exit {
	r.t.Helper()
	if err := unix.Kill(r.current(), unix.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	return *r.until(StateBackoff).Exit
}

// What the process leaves behind, in its group or out of it, is gone before the next start.
func TestFault_C7_LeftoversAreGoneBeforeTheNextStart(t *testing.T) {
	for name, script := range map[string]string{
		"in the group":            `sh -c 'echo left $$; exec sleep 1000' & exec sleep 1000`,
		"deaf in the group":       `sh -c 'trap "" TERM; echo left $$; exec sleep 1000' & exec sleep 1000`,
		"in a session of its own": `setsid sh -c 'echo left $$; exec sleep 1000' & exec sleep 1000`,
		"orphaned on purpose":     `(setsid sh -c 'echo left $$; exec sleep 1000' &); exec sleep 1000`,
		"without environment":     `env -i setsid sleep 1000 & echo left $!; exec sleep 1000`,
		"below an orphan":         `(setsid sh -c 'setsid sh -c "echo left \$\$; exec sleep 1000"; exit 1' &); exec sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			r := rigUp(t, sh(Config{}, script))
			pid := r.pid("left ")
			r.crashed()
			if running(pid) {
				t.Errorf("process %d is still there when the next start is due", pid)
			}
		})
	}
}

// An orphan that does not come from the process is left alone.
func TestFault_C7_StrangersAreSpared(t *testing.T) {
	cfg := sh(Config{}, `[ -e "$ONCE" ] && exec sleep 1000; : >"$ONCE"
		(COMFYVISOR_INSTANCE=other setsid sh -c 'echo left $$; exec sleep 1000' &); exec sleep 1000`)
	cfg.Env = append(cfg.Env, "ONCE="+filepath.Join(t.TempDir(), "once"))
	r := rigUp(t, cfg)
	pid := r.pid("left ")
	r.crashed()
	if !running(pid) {
		t.Error("a process with somebody else's mark was killed")
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// A stranger that replaces its program again and again, and has no environment for moments, is never killed for it.
func TestFault_C7_StrangerBetweenTwoProgramsIsSpared(t *testing.T) {
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.WriteFile(loop, []byte(`exec sh "$0"`), 0o644); err != nil {
		t.Fatal(err)
	}
	r := rigUp(t, sh(Config{}, `(COMFYVISOR_INSTANCE=other setsid sh -c 'echo left $$; exec sh "$0"' "$1" &); exec sleep 1000`, loop))
	pid := r.pid("left ")
	r.until(StateRunning)
	for range 200 {
		r.reaper.killLeft(noGroup, r.mark())
	}
	if !running(pid) {
		t.Error("a process with somebody else's mark was killed")
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// The twin of C7: killing the process and not its group leaves its children behind.
func TestFault_C7_TwinThatKillsOneProcessLeavesTheRest(t *testing.T) {
	reaper := runReaper(t)
	cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reaper.Start(cmd); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = reaper.Wait(cmd)
	if !running(pid) {
		t.Error("the child is gone too: killing the group makes no difference")
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// holdOutput opens the standard output of the process as a stranger would.
func holdOutput(t *testing.T, pid int) *os.File {
	t.Helper()
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/1", pid), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// The end of the process is seen although something else holds its output open.
func TestFault_C8_GrandchildHoldsPipe(t *testing.T) {
	r := rigUp(t, as(Config{}, "sleep"))
	r.line("up")
	holdOutput(t, r.current())
	began := time.Now()
	exit := r.crashed()
	if took := time.Since(began); took > patience/3 {
		t.Errorf("the exit (%v) was seen after %s, want %s and a little", exit, took, DefaultWaitDelay)
	}
}

// A grandchild that holds the output is killed, and holds up nothing at all.
func TestFault_C8_GrandchildInTheGroupIsKilledFirst(t *testing.T) {
	r := rigUp(t, sh(Config{WaitDelay: time.Hour}, "sleep 1000 & echo up; exec sleep 1000"))
	r.line("up")
	r.crashed()
}

// The twin of C8: without the delay the end is not seen until the holder lets go.
func TestFault_C8_TwinWithoutDelayWaitsForTheHolder(t *testing.T) {
	r := rigUp(t, as(Config{WaitDelay: time.Hour}, "sleep"))
	r.line("up")
	holder := holdOutput(t, r.current())
	pid := r.current()
	_ = unix.Kill(pid, unix.SIGKILL)
	eventually(t, "the process is gone", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
	r.until(StateRunning)
	select {
	case tr := <-r.transitions:
		t.Errorf("%+v: the holder makes no difference", tr)
	case <-time.After(2 * DefaultWaitDelay):
	}
	_ = holder.Close()
	r.until(StateBackoff)
}

// A process that hangs in the kernel ends Run, and no second one is started beside it.
func TestFault_C9_Unkillable(t *testing.T) {
	dir := cgroup(t, "freezer", nil)
	r := rigUp(t, as(Config{Grace: 20 * time.Millisecond, KillTimeout: 100 * time.Millisecond}, "sleep"))
	r.line("up")
	pid := r.current()
	freeze(t, dir, pid)
	r.Restart("it hangs")
	err := receive(t, r.ended, "end of Run")
	if !errors.Is(err, ErrUnkillable) || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
		t.Errorf("Run = %v, want process %d to be unkillable", err, pid)
	}
	if status := r.Status(); status.State != StateFailed || status.Incarnation != 1 {
		t.Errorf("%s in incarnation %d, want failed in the first", status.State, status.Incarnation)
	}
	if !running(pid) {
		t.Error("the process is gone: the freezer proves nothing")
	}
	thaw(t, dir)
	eventually(t, "the process is gone", func() bool { return !running(pid) })
}

// Something that hangs in the kernel after the process has ended keeps the next one from being started.
func TestFault_C9_UnkillableLeftover(t *testing.T) {
	dir := cgroup(t, "freezer", nil)
	r := rigUp(t, sh(Config{KillTimeout: 100 * time.Millisecond}, `sh -c 'echo left $$; exec sleep 1000' & exec sleep 1000`))
	pid := r.pid("left ")
	freeze(t, dir, pid)
	_ = unix.Kill(r.current(), unix.SIGKILL)
	err := receive(t, r.ended, "end of Run")
	if !errors.Is(err, ErrUnkillable) || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
		t.Errorf("Run = %v, want process %d to be unkillable", err, pid)
	}
	thaw(t, dir)
	eventually(t, "the process is gone", func() bool { return !running(pid) })
}

func freeze(t *testing.T, dir string, pid int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("FROZEN"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { thaw(t, dir) })
	eventually(t, "the process is frozen", func() bool {
		state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
		return err == nil && string(state) == "FROZEN\n"
	})
}

func thaw(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0o644); err != nil {
		t.Error(err)
	}
}
