package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// modeEnv makes the test binary act as a child. Its value is a mode and an
// argument.
const modeEnv = "SUPERVISOR_TEST_MODE"

// modes are what the test binary can act as.
var modes = map[string]func(arg string){
	"exit":        func(arg string) { code, _ := strconv.Atoi(arg); os.Exit(code) },
	"sleep":       func(string) { say("up"); forever() },
	"ignore-term": func(string) { signal.Ignore(unix.SIGTERM); say("up"); forever() },
	"spam":        spam,
	"eat":         eat,
	"exec":        execInPlace,
	"oom-nest":    oomNest,
	"oom-many":    oomMany,
	"pids-nest":   pidsNest,
	"threads":     needThreads,
	"host":        host,
}

func TestMain(m *testing.M) {
	if mode, arg, _ := strings.Cut(os.Getenv(modeEnv), " "); mode != "" {
		modes[mode](arg)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// forever waits for a signal to end the process.
func forever() {
	for {
		_ = unix.Pause()
	}
}

func say(text string) { fmt.Println(text) }

// as makes cfg run the test binary in a mode.
func as(cfg Config, mode string) Config {
	cfg.Path, cfg.Args = os.Args[0], nil
	cfg.Env = append(cfg.Env, modeEnv+"="+mode, "GORACE=atexit_sleep_ms=0")
	return cfg
}

// sh makes cfg run a shell script.
func sh(cfg Config, script string, args ...string) Config {
	cfg.Path, cfg.Args = "/bin/sh", append([]string{"-c", script, "sh"}, args...)
	cfg.Env = append(cfg.Env, "PATH="+os.Getenv("PATH"))
	return cfg
}

// quick is a policy that never waits and never gives up.
func quick() Policy {
	return Policy{First: 1, Max: 1, Healthy: time.Hour, Boots: 1 << 30, Free: 1 << 30, Window: time.Hour}
}

// A rig is a running Supervisor and what it tells.
type rig struct {
	*Supervisor
	t           *testing.T
	transitions chan Transition
	lines       chan Line
	ended       chan error
	cancel      context.CancelFunc
}

// patience bounds a wait for an event that has to come.
const patience = 30 * time.Second

// rigUp runs a Supervisor until the end of the test. Lines are dropped when
// the test does not take them.
func rigUp(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t, transitions: make(chan Transition, 10000), lines: make(chan Line, 10000), ended: make(chan error, 1)}
	if cfg.Policy == (Policy{}) {
		cfg.Policy = quick()
	}
	// What one test leaves running is a stranger to the next.
	orDefault(&cfg.Name, t.Name())
	cfg.Observe = func(tr Transition) { r.transitions <- tr }
	if cfg.Lines == nil {
		cfg.Lines = func(l Line) {
			select {
			case r.lines <- l:
			default:
			}
		}
	}
	reaper := runReaper(t)
	r.Supervisor = New(cfg, reaper, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	done := make(chan struct{})
	go func() { r.ended <- r.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func runReaper(t *testing.T) *Reaper {
	t.Helper()
	reaper := NewReaper(zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = reaper.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return reaper
}

// until returns the first transition to a state from here on.
func (r *rig) until(to State) Transition {
	r.t.Helper()
	for {
		tr := receive(r.t, r.transitions, "transition to "+string(to))
		if tr.To == to {
			return tr
		}
		if tr.To == StateFailed {
			r.t.Fatalf("failed (%s) while waiting for %s", tr.Reason, to)
		}
	}
}

// line returns the first line that begins with prefix, without it.
func (r *rig) line(prefix string) string {
	r.t.Helper()
	for {
		l := receive(r.t, r.lines, "line "+prefix)
		if rest, found := strings.CutPrefix(l.Text, prefix); found {
			return strings.TrimSpace(rest)
		}
	}
}

// pid returns the number in the first line that begins with prefix.
func (r *rig) pid(prefix string) int {
	r.t.Helper()
	text := r.line(prefix)
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		r.t.Fatalf("line %q: %q is no pid", prefix, text)
	}
	return pid
}

// current returns the pid of the process. A line of it may come before it is
// known as running.
func (r *rig) current() int {
	r.t.Helper()
	var pid int
	eventually(r.t, "a process is running", func() bool { pid = r.Status().PID; return pid != 0 })
	return pid
}

// stop ends Run and returns what it returned.
func (r *rig) stop() error {
	r.t.Helper()
	r.cancel()
	return receive(r.t, r.ended, "end of Run")
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
		panic("unreachable")
	}
}

// eventually waits for something that gives no event, such as a process of
// which we are not the parent.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("still not so after %s: %s", patience, what)
		}
	}
}

// running tells whether there is a process with that pid that is no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	p, ok := parseStat(stat)
	return ok && p.alive()
}

// zombies are our dead children.
func zombies() []int {
	var pids []int
	for _, p := range processTable() {
		if p.parent == os.Getpid() && p.state == 'Z' {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// reexec runs the test binary in a mode, in a process of its own, and returns
// its output.
func reexec(t *testing.T, mode string, wrap ...string) (string, error) {
	t.Helper()
	argv := append(slices.Clone(wrap), os.Args[0])
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), modeEnv+"="+mode, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// cgroup makes a cgroup of version 1 for the test, or skips it.
func cgroup(t *testing.T, controller string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join("/sys/fs/cgroup", controller, fmt.Sprintf("comfyvisor-test-%d", os.Getpid()))
	if _, err := os.Stat(filepath.Dir(dir) + "/tasks"); err != nil {
		t.Skipf("no %s cgroup of version 1 here", controller)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no right to make a cgroup: %v", err)
	}
	t.Cleanup(func() {
		eventually(t, "cgroup is empty", func() bool { return unix.Rmdir(dir) == nil })
	})
	for name, value := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// join moves the calling process into a cgroup.
func join(dir string) {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644); err != nil {
		say("join " + dir + ": " + err.Error())
		os.Exit(99)
	}
}
