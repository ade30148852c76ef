package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// within runs f in the mount namespace of a program.
func (p *program) within(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			ns, err := unix.Open(filepath.Join("/proc", procNumber(p), "ns/mnt"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open namespace: %w", err)
			}
			defer unix.Close(ns)
			if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("enter namespace: %w", err)
			}
			return f()
		}()
	}()
	return <-done
}

// stall puts a filesystem over one of the program's directories that answers
// nothing, as a network volume does whose server is gone.
func (p *program) stall(name string) {
	p.t.Helper()
	err := p.within(func() error {
		server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		p.t.Cleanup(func() { unix.Close(server) })
		return unix.Mount("stalled", filepath.Join(p.dir, name), "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server))
	})
	if err != nil {
		p.t.Skipf("mount a volume that stalls: %v", err)
	}
}

// pings are the heartbeats that a queue has seen.
func pings(q *runpodtest.Server) int { return len(q.Ledger().Pings) }

// waitPings waits for so many more heartbeats.
func waitPings(t *testing.T, q *runpodtest.Server, more int) {
	t.Helper()
	ctx, cancel := contextFor(t)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for until := pings(q) + more; pings(q) < until; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d heartbeats, want %d", pings(q), until)
		}
	}
}

// When the volume of the outputs stalls under a job, heartbeats go on, and a stop reports the job and ends in time.
func TestFault_Z8_VolumeStalls(t *testing.T) {
	t.Parallel()
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: queueKey, Hold: time.Minute})
	p := mounted(t, "", with(q.Env(), "RUNPOD_PING_INTERVAL", "1000", "STOP_BUDGET", "6s", "COMFY_STOP_GRACE", "1s"))
	q.Submit("a", picture(1))
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Fatalf("job a: %+v", o)
	}
	p.stall("output")
	q.Submit("b", picture(2))
	p.waitLine("free space is not known")
	waitPings(t, q, 3)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitAbandoned {
		t.Errorf("exit code = %d, want %d", code, exitAbandoned)
	}
	if o := ends(t, q, "b"); o.Status != runpodtest.Failed || !strings.Contains(string(o.Output), "worker_shutdown") {
		t.Errorf("job b: %+v", o)
	}
}
