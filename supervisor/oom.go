package supervisor

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Decoys keeps small processes running until ctx ends, which the out-of-memory
// killer finds before this program when the process proper has been killed
// already. They have to end when their standard input does. Their score is raised as
// that of the process is, which is larger and so comes first.
//
// To be small and to have the lower score is not enough: for the milliseconds
// in which the kernel frees the memory of a process that it has killed, the
// process counts no more and its memory still does. Whoever asks for a page then
// makes the kernel kill once more, and without a decoy nobody else is there. On a
// busy machine the first decoy's end may come before that memory is free, so that the
// next has to go. To be never taken at all (a score of -1000) needs
// CAP_SYS_RESOURCE, which containers do not have.
func (r *Reaper) Decoys(ctx context.Context, count, raise int, path string, args ...string) error {
	var all sync.WaitGroup
	for range count {
		all.Go(func() { r.keepDecoy(ctx, raise, path, args) })
	}
	all.Wait()
	return ctx.Err()
}

// keepDecoy keeps one of them running.
func (r *Reaper) keepDecoy(ctx context.Context, raise int, path string, args []string) {
	delay := decoyDelay
	for {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return
		}
		delay = decoyDelay
		if err := r.decoy(ctx, raise, path, args); err != nil {
			r.log.Warn("no decoy: comfyvisor itself may be killed when memory runs out", zap.Error(err))
			delay = decoyAgain
		}
	}
}

const (
	// decoyDelay is how long there is none at first, and after one was killed: for
	// as long as memory is short it would do more harm than good.
	decoyDelay = 50 * time.Millisecond
	// decoyAgain is the time between two tries to start one.
	decoyAgain = 10 * time.Second
)

// decoy returns when the process has ended, or could not be started.
func (r *Reaper) decoy(ctx context.Context, raise int, path string, args []string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := cmd.StdinPipe() // which ends with us, however we end
	if err != nil {
		return err
	}
	if err := r.Start(cmd); err != nil {
		_ = input.Close()
		return err
	}
	if err := raiseOOMScore(cmd.Process.Pid, raise); err != nil {
		r.log.Warn("oom score not set", zap.Int("pid", cmd.Process.Pid), zap.Error(err))
	}
	r.log.Debug("decoy ended", zap.Error(r.Wait(cmd)))
	return nil
}

// raiseOOMScore makes the killer like a process better than what it comes from.
// To like it less would need a privilege.
func raiseOOMScore(pid, by int) error {
	file := filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj")
	inherited, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(inherited)))
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(strconv.Itoa(min(score+by, 1000))), 0)
}
