package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// orphans is a script that leaves $1 orphans, half of which exit with various
// codes and half of which are killed, and exits with code $2.
const orphans = `i=0; while [ $i -lt $1 ]; do (exit $((i % 256)) &) ; (kill -9 $(exec sh -c 'echo $PPID') &) ; i=$((i+2)); done; exit $2`

// Orphans of the process are all collected, and its own exit code is still read right.
func TestFault_P6_OrphansAreReaped(t *testing.T) {
	r := rigUp(t, sh(Config{Policy: quick()}, orphans, "600", "7"))
	exit := r.until(StateBackoff).Exit
	if exit.Code != 7 {
		t.Errorf("exit = %v, want code 7", exit)
	}
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	eventually(t, "no zombie is left", func() bool { return len(zombies()) == 0 })
}

// As PID 1 of a namespace the orphans of the process are all collected.
func TestFault_P6_OrphansAreReapedByPID1(t *testing.T) {
	script := strings.NewReplacer("$1", "600", "$2", "7").Replace(orphans)
	unshared(t)
	out, err := reexec(t, "host "+script, "unshare", "-Urpf", "--mount-proc")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"host pid 1\n", "host exit exited with code 7 ", "host zombies 0\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the output:\n%s", want, out)
		}
	}
}

func unshared(t *testing.T) {
	t.Helper()
	if err := exec.Command("unshare", "-Urpf", "--mount-proc", "true").Run(); err != nil {
		t.Skipf("no namespaces here: %v", err)
	}
}

// The reaper never takes the exit status of a process that somebody waits for.
func TestFault_P7_NoStatusIsLost(t *testing.T) {
	reaper := runReaper(t)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 125 {
				want := (worker*125 + i) % 256
				cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("(exit 1 &); (exit 2 &); exit %d", want))
				if err := reaper.Start(cmd); err != nil {
					t.Error(err)
					return
				}
				err := reaper.Wait(cmd)
				if got := cmd.ProcessState.ExitCode(); got != want {
					t.Errorf("exit code %d (%v), want %d", got, err, want)
				}
			}
		})
	}
	all.Wait()
	eventually(t, "no zombie is left", func() bool { return len(zombies()) == 0 })
}

// The twin of P7: a reaper that collects whatever is dead takes the status away.
func TestFault_P7_TwinThatCollectsEverythingLosesIt(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 7")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	for pid := 0; pid != cmd.Process.Pid; {
		var err error
		if pid, err = unix.Wait4(-1, &status, 0, nil); err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); !errors.Is(err, unix.ECHILD) {
		t.Errorf("Wait = %v, want no child processes", err)
	}
}

// An own dead child that nobody waits for does not hide orphans from the reaper.
func TestFault_P8_OrphansBehindAnOwnZombieAreReaped(t *testing.T) {
	reaper := runReaper(t)
	own := exec.Command("/bin/sh", "-c", "exit 3")
	if err := reaper.Start(own); err != nil {
		t.Fatal(err)
	}
	eventually(t, "own child is dead", func() bool { return slices.Contains(zombies(), own.Process.Pid) })
	// The orphans come later than the zombie, so the kernel shows it first.
	maker := exec.Command("/bin/sh", "-c", orphans, "sh", "50", "0")
	if err := reaper.Start(maker); err != nil {
		t.Fatal(err)
	}
	if err := reaper.Wait(maker); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the own zombie is the only one", func() bool {
		left := zombies()
		return len(left) == 1 && left[0] == own.Process.Pid
	})
	if _ = reaper.Wait(own); own.ProcessState.ExitCode() != 3 {
		t.Errorf("exit code %d, want 3", own.ProcessState.ExitCode())
	}
}

// detached is a script whose descendant leaves the group, the session and its
// parent, and which then waits.
const detached = `(setsid sh -c 'echo descendant $$; exec sleep 1000' &) ; exec sleep 1000`

// Without being PID 1, descendants that left the group are found and killed all the same.
func TestFault_P9_StopFindsDescendantsWithoutPID1(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("this is PID 1")
	}
	r := rigUp(t, sh(Config{}, detached))
	pid := r.pid("descendant ")
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if running(pid) {
		t.Errorf("process %d is still there after the stop", pid)
	}
}

// The twin of P9: without the sub-reaper the descendant belongs to somebody else and survives.
func TestFault_P9_TwinWithoutSubReaperMissesThem(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("this is PID 1")
	}
	r := rigUp(t, sh(Config{}, detached))
	first := r.pid("descendant ")
	if err := adoptOrphans(false); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = adoptOrphans(true) }()
	r.Restart("from here on without sub-reaper")
	pid := first
	for pid == first {
		pid = r.pid("descendant ")
	}
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if !running(pid) {
		t.Error("the descendant is gone: the sub-reaper makes no difference")
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	if running(first) {
		t.Error("the descendant from before is still there")
	}
}

// Many children that die in the same moment, and a SIGCHLD that nobody saw, leave no zombie.
func TestFault_P10_CoalescedAndLostSIGCHLD(t *testing.T) {
	reaper := NewReaper(zap.NewNop())
	maker := exec.Command("/bin/sh", "-c", `i=0; while [ $i -lt 500 ]; do sleep 1000 & i=$((i+1)); done`)
	maker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := reaper.Start(maker); err != nil {
		t.Fatal(err)
	}
	if err := reaper.Wait(maker); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(-maker.Process.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Nobody listens for SIGCHLD, so all of them stay zombies.
	eventually(t, "500 zombies", func() bool { return len(zombies()) == 500 })
	runReaper(t)
	eventually(t, "no zombie is left", func() bool { return len(zombies()) == 0 })
}

// An orphan whose SIGCHLD got lost is collected by the next sweep.
func TestFault_P10_SweepMakesUpForALostSIGCHLD(t *testing.T) {
	reaper := runReaper(t)
	orphan := func() int {
		t.Helper()
		out, err := reaper.Output(t.Context(), "/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	pid := orphan()
	_ = unix.Kill(pid, unix.SIGKILL)
	eventually(t, "the reaper runs", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })

	pid = orphan()
	signal.Reset(unix.SIGCHLD) // from here on nobody is told
	_ = unix.Kill(pid, unix.SIGKILL)
	eventually(t, "the orphan is collected", func() bool { return unix.Kill(pid, 0) == unix.ESRCH })
}

// The process starts with default signal actions and an empty mask, however odd ours are.
func TestFault_P14_SignalActionsAndMaskAreDefault(t *testing.T) {
	report := filepath.Join(t.TempDir(), "status") // written once: set -C
	// The shell passes on what it ignores, the thread what it blocks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var blocked, old unix.Sigset_t
	blocked.Val[0] = 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGCHLD-1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, &old); err != nil {
		t.Fatal(err)
	}
	out, err := reexec(t, "host set -C; cat /proc/self/status >"+report,
		"/bin/sh", "-c", `trap "" PIPE HUP INT USR2 TSTP; exec "$0"`)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	status, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, set := range []string{"SigBlk:\t", "SigIgn:\t"} {
		_, rest, _ := strings.Cut(string(status), set)
		bits, _, _ := strings.Cut(rest, "\n")
		signals, err := strconv.ParseUint(bits, 16, 64)
		if err != nil || signals&^ofTheCLibrary != 0 {
			t.Errorf("%s%s in the child's status, want none (%v)", set, bits, err)
		}
	}
}

// ofTheCLibrary are signals 32 and 33, which belong to the C library: it takes
// them when it needs them, whatever it inherited, and Go cannot. GNU make leaves
// them ignored in whatever it starts.
const ofTheCLibrary = 1<<31 | 1<<32

// The twin of P14: a plain start passes on what is ignored.
func TestFault_P14_TwinPassesIgnoredSignalsOn(t *testing.T) {
	out, err := exec.Command("/bin/sh", "-c", `trap "" HUP TSTP; exec cat /proc/self/status`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "SigIgn:\t0000000000000000\n") {
		t.Error("nothing is ignored: the test above proves nothing")
	}
}

// Closed standard files of ours are /dev/null for the process, and nothing else takes their numbers.
func TestFault_P14_ClosedStandardFiles(t *testing.T) {
	report := filepath.Join(t.TempDir(), "files") // written once: set -C
	_, err := reexec(t, "host set -C; for n in 0 1 2; do readlink /proc/$$/fd/$n; done >"+report,
		"/bin/sh", "-c", `exec "$0" <&- >&- 2>&-`)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(files))
	if len(got) != 3 || got[0] != "/dev/null" || got[1] != report || !strings.HasPrefix(got[2], "pipe:") {
		t.Errorf("files of the process = %q, want /dev/null, the report and a pipe", got)
	}
}

func TestOutput(t *testing.T) {
	reaper := runReaper(t)
	out, err := reaper.Output(t.Context(), "/bin/sh", "-c", "echo out; echo err >&2")
	if string(out) != "out\n" || err != nil {
		t.Errorf("Output = %q, %v", out, err)
	}
	_, err = reaper.Output(t.Context(), "/bin/sh", "-c", "echo broken >&2; exit 9")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 9 || !strings.HasSuffix(err.Error(), ": broken") {
		t.Errorf("Output of a command with exit 9 = %v", err)
	}
	if _, err = reaper.Output(t.Context(), "/no/such/command"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Output of a missing command = %v", err)
	}
}

// A command that outlives its context is killed with its group.
func TestOutputEndsWithItsContext(t *testing.T) {
	reaper := runReaper(t)
	marker := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for !exists(marker) && ctx.Err() == nil {
			runtime.Gosched()
		}
		cancel()
	}()
	_, err := reaper.Output(ctx, "/bin/sh", "-c", `sleep 1000 & echo $! >"$0.tmp"; mv "$0.tmp" "$0"; wait`, marker)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Output = %v, want the context's error", err)
	}
	text, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	_, _ = fmt.Sscan(string(text), &pid)
	eventually(t, "the command's child is gone", func() bool { return !running(pid) })
}

// A command of our own is not taken for something that the process left behind.
func TestClearSparesOwnCommands(t *testing.T) {
	reaper := runReaper(t)
	cmd := exec.Command("/bin/sh", "-c", "exec sleep 1000")
	if err := reaper.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := reaper.clear(ctx, noGroup, instanceEnv+"=x"); err != nil {
		t.Error(err)
	}
	if !running(cmd.Process.Pid) {
		t.Error("the command was killed")
	}
	_ = cmd.Process.Kill()
	_ = reaper.Wait(cmd)
}
