package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// instanceEnv marks the environment of the process and of all that comes of
// it, by which stray descendants are known.
const instanceEnv = "COMFYVISOR_INSTANCE"

// A Process is what the supervisor needs of a started incarnation.
type Process struct {
	PID    int
	Signal func(unix.Signal) // to the whole group
	Dead   <-chan Exit       // once: the process has ended and its output is read
	Gone   <-chan error      // then: nothing is left of it, or an error that wraps ErrUnkillable
}

// launchProcess starts incarnation n in a process group of its own.
func (s *Supervisor) launchProcess(n int) (*Process, error) {
	s.forgetReboot()
	out, err := newRelay(s, n)
	if err != nil {
		return nil, err
	}
	cmd := s.command(out)
	memory := newMemoryGroup(s.cfg.Root)
	kills := memory.kills()
	err = s.reaper.Start(cmd)
	out.started()
	if err != nil {
		out.finish(0)
		s.makeRoom()
		return nil, startError(s.cfg, err)
	}
	s.adjust(cmd.Process.Pid)

	dead, gone := make(chan Exit, 1), make(chan error, 1)
	// It ends with the process and all that came of it. If they cannot be
	// killed, Run reports that and this goroutine outlives it.
	go func() {
		exit := s.await(cmd)
		if exit.Signal == unix.SIGKILL {
			exit.OOM, exit.MaybeOOM = memory.blame(kills)
		}
		left := s.reaper.killLeft(cmd.Process.Pid, s.mark())
		out.finish(s.cfg.WaitDelay)
		for _, line := range out.tail.lines() {
			exit.Tail = append(exit.Tail, s.cfg.Scrub(line))
		}
		dead <- exit
		if len(left) == 0 { // then nobody is there who could fork
			gone <- nil
			return
		}
		gone <- s.clear(cmd.Process.Pid)
	}()
	signal := func(sig unix.Signal) { _ = unix.Kill(-cmd.Process.Pid, sig) } // ESRCH: it has ended
	return &Process{PID: cmd.Process.Pid, Signal: signal, Dead: dead, Gone: gone}, nil
}

func (s *Supervisor) command(out *relay) *exec.Cmd {
	cmd := exec.Command(s.cfg.Path, s.cfg.Args...)
	cmd.Dir = s.cfg.Dir
	cmd.Env = append(slices.Clone(s.cfg.Env), s.mark())
	cmd.Stdout, cmd.Stderr = out.stdout, out.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// await waits for the process and tells how it ended.
func (s *Supervisor) await(cmd *exec.Cmd) Exit {
	err := s.reaper.Wait(cmd)
	exit := Exit{At: time.Now(), Code: -1}
	if cmd.ProcessState == nil { // somebody else has collected it
		s.log.Error("exit status lost", zap.Int("pid", cmd.Process.Pid), zap.Error(err))
		return exit
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	exit.Code = status.ExitStatus()
	if status.Signaled() {
		exit.Signal = status.Signal()
	}
	exit.Reboot = exit.voluntary() && exists(s.cfg.RebootFile)
	return exit
}

// forgetReboot removes what an earlier incarnation left.
func (s *Supervisor) forgetReboot() {
	if s.cfg.RebootFile == "" {
		return
	}
	if err := os.Remove(s.cfg.RebootFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("reboot file stays", zap.Error(err))
	}
}

// mark is the variable that instanceEnv names.
func (s *Supervisor) mark() string { return instanceEnv + "=" + s.cfg.Name }

// clear kills what is left of the process group and of the descendants of the
// process, and waits until it is gone.
func (s *Supervisor) clear(group int) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.KillTimeout)
	defer cancel()
	return s.reaper.clear(ctx, group, s.mark())
}

// makeRoom kills stray descendants of earlier incarnations. It is called when
// there is no room for one more process (EAGAIN), which is what a descendant
// that forks without end leads to.
func (s *Supervisor) makeRoom() { s.reaper.killLeft(noGroup, s.mark()) }

// adjust sets what the child would otherwise inherit. It happens right after
// the start, long before an interpreter has loaded its first line.
func (s *Supervisor) adjust(pid int) {
	if err := setNoFile(pid, s.cfg.NoFile); err != nil {
		s.log.Warn("limit of open files not set", zap.Int("pid", pid), zap.Error(err))
	}
	if s.cfg.OOMScoreAdj == 0 {
		return
	}
	if err := raiseOOMScore(pid, s.cfg.OOMScoreAdj); err != nil {
		s.log.Warn("oom score not set", zap.Int("pid", pid), zap.Error(err))
	}
}

// mostFiles is as many as Linux allows by default (fs.nr_open).
const mostFiles = 1 << 20

func setNoFile(pid int, want uint64) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return err
	}
	if want == 0 {
		want = limit.Max
	}
	limit.Cur = min(want, limit.Max, mostFiles)
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &limit, nil)
}

func exists(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Stat(path)
	return err == nil
}
