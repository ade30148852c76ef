package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The process has its three standard files and no other, whatever we have open.
func TestFault_C16_NoFileLeaksIntoTheProcess(t *testing.T) {
	for range 50 {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // not close-on-exec
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(sock)
	}
	r := rigUp(t, sh(Config{}, "sleep 1000 & echo up; wait")) // and no exec, in which libraries are opened
	r.line("up")
	names, err := readNames(fmt.Sprintf("/proc/%d/fd", r.current()))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"0", "1", "2"}) {
		t.Errorf("files of the process: %v, want 0, 1 and 2", names)
	}
	stdin, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", r.current()))
	if stdin != "/dev/null" || err != nil {
		t.Errorf("standard input = %s, %v", stdin, err)
	}
}

// The limit of open files of the process is set on purpose, and not what happens to be inherited.
func TestFault_C17_LimitOfOpenFiles(t *testing.T) {
	for _, want := range []uint64{0, 512} {
		r := rigUp(t, sh(Config{NoFile: want}, "echo up; exec sleep 1000"))
		r.line("up")
		var got unix.Rlimit
		if err := unix.Prlimit(r.current(), unix.RLIMIT_NOFILE, nil, &got); err != nil {
			t.Fatal(err)
		}
		if want == 0 {
			want = min(got.Max, mostFiles)
		}
		if got.Cur != want {
			t.Errorf("soft limit %d, want %d", got.Cur, want)
		}
		_ = r.stop()
	}
}

// A process that replaces itself in place keeps its pid, its output and its incarnation.
func TestFault_C18_ExecInPlace(t *testing.T) {
	r := rigUp(t, as(Config{}, "exec"))
	pid := r.pid("first ")
	r.current()
	r.line("up")
	if status := r.Status(); status.PID != pid || status.Incarnation != 1 || status.State != StateRunning {
		t.Errorf("status = %+v, want the first incarnation running as %d", status, pid)
	}
}

// A process that exits with code 0 in order to be restarted is, at once, but not in an endless loop.
func TestFault_C18_ExitToBeRestarted(t *testing.T) {
	policy := DefaultPolicy()
	policy.First = time.Millisecond
	reboot := filepath.Join(t.TempDir(), "session.reboot")
	cfg := sh(Config{Policy: policy, RebootFile: reboot}, `[ -e "$REBOOT" ] && exit 9; [ -e "$REBOOT.no" ] || echo >"$REBOOT"; exit 0`)
	cfg.Env = append(cfg.Env, "REBOOT="+reboot)
	r := rigUp(t, cfg)
	exit := r.until(StateBackoff).Exit
	if !exit.Reboot || !strings.HasPrefix(exit.Error(), "exited to be restarted ") {
		t.Errorf("exit = %v, want one to be restarted", exit)
	}
	// Three are free, the next five failures in a row are a crash loop.
	err := receive(t, r.ended, "end of Run")
	if n := r.Status().Incarnation; !errors.Is(err, ErrCrashLoop) || n != 8 {
		t.Errorf("Run = %v after %d starts, want a crash loop after 8", err, n)
	}
}

// The process outlives the thread that started it.
func TestFault_C19_ProcessOutlivesItsThread(t *testing.T) {
	if !outlives(t, nil) {
		t.Error("the process ended with the thread that started it")
	}
}

// The twin of C19: with a parent-death signal it does not.
func TestFault_C19_TwinWithParentDeathSignalDies(t *testing.T) {
	if outlives(t, &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}) {
		t.Error("the process is still there: the test above proves nothing")
	}
}

// outlives starts a process from a thread, ends the thread, and tells whether
// the process still answers.
func outlives(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	reaper := runReaper(t)
	cmd := exec.Command("/bin/cat")
	cmd.SysProcAttr = attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started, thread := make(chan error, 1), make(chan int, 1)
	go onDyingThread(func() {
		thread <- unix.Gettid()
		started <- reaper.Start(cmd)
	})
	if err := receive(t, started, "start"); err != nil {
		t.Fatal(err)
	}
	task := fmt.Sprintf("/proc/self/task/%d", <-thread)
	eventually(t, "the thread has ended", func() bool { return !exists(task) })
	_, _ = in.Write([]byte("x")) // EPIPE if it has died
	n, _ := out.Read(make([]byte, 1))
	_ = cmd.Process.Kill()
	_ = reaper.Wait(cmd)
	return n == 1
}

// onDyingThread calls f on a thread that ends when f has returned. The first
// thread of the program never ends, so that one is kept busy meanwhile.
func onDyingThread(f func()) {
	runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() { defer close(done); onDyingThread(f) }()
	<-done
}

func TestEnvironmentIsOnlyWhatIsGiven(t *testing.T) {
	t.Setenv("SECRET_OF_OURS", "x")
	r := rigUp(t, Config{Path: "/usr/bin/env", Env: []string{"ONLY=this"}, Name: "second"})
	first, second := receive(t, r.lines, "line").Text, receive(t, r.lines, "line").Text
	if first != "ONLY=this" || second != "COMFYVISOR_INSTANCE=second" {
		t.Errorf("environment %q, %q", first, second)
	}
	if next := receive(t, r.lines, "line"); next.Incarnation == 1 {
		t.Errorf("more environment: %q", next.Text)
	}
}

func TestSignalGoesToTheGroup(t *testing.T) {
	r := rigUp(t, sh(Config{}, `trap : USR1; sh -c 'trap "echo told" USR1; echo up; while :; do sleep 0.01; done' & while :; do wait; done`))
	r.line("up")
	r.current()
	r.Signal(unix.SIGUSR1)
	r.line("told")
}

// What a process reads counts, in megabytes, and so does what its children read.
func TestRead(t *testing.T) {
	r := rigUp(t, sh(Config{}, `trap 'cat /dev/zero | head -c 8000000 >/dev/null; echo read' USR1; (trap '' USR1; exec sleep 1000) & echo up; while :; do wait; done`))
	r.line("up")
	before := r.Read()
	r.Signal(unix.SIGUSR1)
	r.line("read")
	if got := r.Read(); got < before+7 {
		t.Errorf("%d MB read, %d before, want 7 more", got, before)
	}
}

func TestActivity(t *testing.T) {
	r := rigUp(t, sh(Config{}, `trap 'echo told' USR1; (trap '' USR1; exec sleep 1000) & echo up; while :; do wait; done`))
	r.line("up")
	var quiet uint64
	eventually(t, "a process that does nothing shows no activity", func() bool {
		before := quiet
		quiet = r.Activity()
		return quiet == before
	})
	r.current()
	r.Signal(unix.SIGUSR1)
	r.line("told")
	if r.Activity() == quiet {
		t.Error("output is no activity")
	}
}

func TestResident(t *testing.T) {
	r := rigUp(t, sh(Config{}, `head -c 16000000 /dev/zero | tail -c 16000000 | (echo up; exec sleep 1000) & echo up; while :; do wait; done`))
	r.line("up")
	eventually(t, "the memory of a descendant counts", func() bool { return r.Resident() > 16_000_000 })
	if most := uint64(200_000_000); r.Resident() > most {
		t.Errorf("%d bytes, want less than %d", r.Resident(), most)
	}
}
