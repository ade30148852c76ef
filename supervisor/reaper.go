package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// sweepEvery bounds how long a dead orphan stays if its SIGCHLD got lost.
const sweepEvery = time.Second

// outputDelay is how long Output waits for a command that it has killed.
const outputDelay = 200 * time.Millisecond

// A Reaper collects dead orphans and leaves the processes that it started
// itself to whoever waits for them. Everything that this program starts must be
// started by one Reaper. All its methods may be called from any goroutine.
type Reaper struct {
	log  *zap.Logger
	self int

	// mu is held from fork to registration, and from the look at a dead child
	// to its collection, so that an own one is never taken for an orphan.
	mu  sync.Mutex
	own map[int]*exec.Cmd

	// ignored is never read: see forgetIgnored.
	ignored chan os.Signal
}

// NewReaper makes this process the parent of all orphans among its
// descendants, from this moment on. PID 1 is that anyway.
func NewReaper(log *zap.Logger) *Reaper {
	r := &Reaper{log: log, self: os.Getpid(), own: make(map[int]*exec.Cmd), ignored: make(chan os.Signal, 1)}
	if r.self == 1 {
		return r
	}
	if err := adoptOrphans(true); err != nil {
		log.Warn("not pid 1 and no sub-reaper: stray descendants are not found", zap.Error(err))
		return r
	}
	log.Warn("not pid 1: orphans are adopted as sub-reaper", zap.Int("pid", r.self))
	return r
}

func adoptOrphans(on bool) error {
	var arg uintptr
	if on {
		arg = 1
	}
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, arg, 0, 0, 0)
}

// Run collects orphans until ctx ends, and once more then.
func (r *Reaper) Run(ctx context.Context) error {
	children := make(chan os.Signal, 1) // one is enough: a sweep takes all there are
	signal.Notify(children, unix.SIGCHLD)
	defer signal.Stop(children)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		r.sweep()
		select {
		case <-children:
		case <-tick.C:
		case <-ctx.Done():
			r.sweep()
			return ctx.Err()
		}
	}
}

// Start starts cmd, which has to be waited for with Wait. The child gets
// default signal actions, an empty signal mask, and no file but those that cmd
// names.
func (r *Reaper) Start(cmd *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := startClean(cmd, r.ignored); err != nil {
		return err
	}
	r.own[cmd.Process.Pid] = cmd
	return nil
}

// Wait is cmd.Wait for a command that Start started.
func (r *Reaper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	r.mu.Lock()
	// A later child may have been given the same pid already.
	if r.own[cmd.Process.Pid] == cmd {
		delete(r.own, cmd.Process.Pid)
	}
	r.mu.Unlock()
	r.sweep()
	return err
}

// Output runs a command and returns what it wrote to its standard output. When
// ctx ends the command is killed with its group; if it does not die even then
// (GPU tools hang in a broken driver), Output leaves it and returns.
func (r *Reaper) Output(ctx context.Context, name string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = outputDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if err := r.Start(cmd); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	waited := make(chan error, 1)
	go func() { waited <- r.Wait(cmd) }()
	select {
	case err := <-waited:
		return output(ctx, name, stdout.Bytes(), stderr.String(), err)
	case <-ctx.Done():
	}
	select {
	case err := <-waited:
		return output(ctx, name, stdout.Bytes(), stderr.String(), err)
	case <-time.After(2 * outputDelay):
		return nil, fmt.Errorf("run %s: process %d %w: %w", name, cmd.Process.Pid, ErrUnkillable, context.Cause(ctx))
	}
}

func output(ctx context.Context, name string, stdout []byte, stderr string, err error) ([]byte, error) {
	switch {
	case err == nil:
		return stdout, nil
	case ctx.Err() != nil:
		return stdout, fmt.Errorf("run %s: %w", name, context.Cause(ctx))
	case stderr != "":
		return stdout, fmt.Errorf("run %s: %w: %s", name, err, strings.TrimSpace(stderr))
	default:
		return stdout, fmt.Errorf("run %s: %w", name, err)
	}
}

// sweep collects all dead orphans.
func (r *Reaper) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		pid := deadChild()
		if pid == 0 {
			return
		}
		if r.own[pid] != nil {
			// The kernel shows only the first dead child, and this one is not
			// ours to take: there may be orphans behind it.
			r.sweepHidden()
			return
		}
		r.collect(pid)
	}
}

// sweepHidden finds dead orphans in the process table.
func (r *Reaper) sweepHidden() {
	for _, p := range processTable() {
		if p.parent == r.self && p.state == 'Z' && r.own[p.pid] == nil {
			r.collect(p.pid)
		}
	}
}

func (r *Reaper) collect(pid int) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		r.log.Debug("orphan reaped", zap.Int("pid", pid), zap.Int("status", int(status)), zap.Error(err))
		return
	}
}

// deadChild returns the pid of a dead child without collecting it, 0 if there
// is none.
func deadChild() int {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil { // ECHILD: no children at all
			return 0
		}
		// unix.Siginfo hides the pid, which on 64-bit Linux is the fifth
		// 32-bit word of struct siginfo.
		return int((*[5]int32)(unsafe.Pointer(&info))[4])
	}
}
