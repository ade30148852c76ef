package supervisor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadly are the signals among 1 to 31 that end a process by default.
var deadly = []syscall.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE,
	unix.SIGKILL, unix.SIGUSR1, unix.SIGSEGV, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGTERM,
	unix.SIGSTKFLT, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGPROF, unix.SIGIO, unix.SIGPWR, unix.SIGSYS,
}

// Every exit code and every signal that kills is told as what it was, and each is followed by a restart.
func TestFault_C2_EveryWayToDie(t *testing.T) {
	// The n-th incarnation exits with code n-1, and after 256 of them by signal.
	counter := filepath.Join(t.TempDir(), "n")
	if err := os.WriteFile(counter, []byte("0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var signals []string
	for _, s := range deadly {
		signals = append(signals, strconv.Itoa(int(s)))
	}
	cfg := sh(Config{}, `ulimit -c 0; read n <"$COUNTER"; echo $((n+1)) >"$COUNTER"
		[ $n -lt 256 ] && exit $n; shift $((n-256)); kill -$1 $$; exec sleep 1000`, signals...)
	cfg.Env = append(cfg.Env, "COUNTER="+counter)
	r := rigUp(t, cfg)
	for code := range 256 {
		if exit := r.until(StateBackoff).Exit; exit.Code != code || exit.Signal != 0 || exit.Incarnation != code+1 {
			t.Fatalf("incarnation %d: %v, want exit code %d", code+1, exit, code)
		}
	}
	for _, want := range deadly {
		exit := r.until(StateBackoff).Exit
		if exit.Signal != want || !strings.HasPrefix(exit.Error(), "killed by "+unix.SignalName(want)+" ") {
			t.Fatalf("%v, want killed by %s", exit, unix.SignalName(want))
		}
	}
}

// A start that can never succeed ends Run at once with one line that names the file, the error and the way out.
func TestFault_C5_NotExecutable(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		syscall.ForkLock.RLock() // a child forked now would keep it open for writing, and nobody could start it (ETXTBSY)
		err := os.WriteFile(path, []byte(content), mode)
		syscall.ForkLock.RUnlock()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, path, dir string
		errno           syscall.Errno
		hint            string
	}{
		{name: "missing", path: filepath.Join(dir, "missing"), errno: unix.ENOENT, hint: "check the path"},
		{name: "missing in PATH", path: "no-such-program", errno: unix.ENOENT, hint: "full path"},
		{name: "not executable", path: file("plain", "#!/bin/sh\n", 0o600), errno: unix.EACCES, hint: "make it an executable"},
		{name: "directory", path: dir, errno: unix.EACCES, hint: "make it an executable file"},
		{name: "bad interpreter", path: file("python", "#!/no/python\n", 0o700), errno: unix.ENOENT, hint: "interpreter"},
		{name: "CRLF", path: file("crlf", "#!/bin/sh\r\n", 0o700), errno: unix.ENOENT, hint: "CR LF"},
		{name: "other machine", path: file("elf", foreignELF(), 0o700), errno: unix.ENOEXEC, hint: "another kind of machine"},
		{name: "below a file", path: file("f", "", 0o700) + "/x", errno: unix.ENOTDIR, hint: "check the path"},
		{name: "missing directory", path: "/bin/sh", dir: filepath.Join(dir, "gone"), errno: unix.ENOENT, hint: "working directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rigUp(t, Config{Path: tt.path, Dir: tt.dir})
			err := receive(t, r.ended, "end of Run")
			if !errors.Is(err, ErrNotExecutable) {
				t.Fatalf("Run = %v, want it not to be executable", err)
			}
			for _, want := range []string{tt.path, fmt.Sprintf("(errno %d)", int(tt.errno)), tt.hint} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			if status := r.Status(); status.State != StateFailed || status.Incarnation != 1 {
				t.Errorf("%s after %d starts, want failed after 1", status.State, status.Incarnation)
			}
		})
	}
}

// foreignELF is the head of an executable for a machine that is not this one.
func foreignELF() string {
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(head[16:], 2)      // an executable
	binary.LittleEndian.PutUint16(head[18:], 0x5441) // for FR-V
	return string(head)
}

// A process that ignores SIGTERM gets SIGKILL after the grace.
func TestFault_C6_StopKillsGroupWhenTermIsIgnored(t *testing.T) {
	r := rigUp(t, as(Config{Grace: 50 * time.Millisecond}, "ignore-term"))
	r.line("up")
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	r.until(StateTerminating)
	r.until(StateKilling)
	if exit := r.until(StateStopped).Exit; exit.Signal != unix.SIGKILL || !exit.Planned || exit.MaybeOOM {
		t.Errorf("exit = %#v, want killed as planned", exit)
	}
}

// Hurry kills the process without any grace.
func TestHurryKillsAtOnce(t *testing.T) {
	hurry := make(chan struct{})
	r := rigUp(t, as(Config{Grace: time.Hour, Hurry: hurry}, "ignore-term"))
	r.line("up")
	r.cancel()
	r.until(StateTerminating)
	close(hurry)
	if exit := r.until(StateStopped).Exit; exit.Signal != unix.SIGKILL {
		t.Errorf("exit = %v, want killed", exit)
	}
}
