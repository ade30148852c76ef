package supervisor

import (
	"bufio"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// startClean starts cmd so that it inherits nothing by accident: no ignored
// signal, no blocked signal, no open file.
func startClean(cmd *exec.Cmd, ignored chan os.Signal) error {
	forgetIgnored(ignored)
	if err := closeOnExec(); err != nil {
		return err
	}
	// A child inherits the signal mask of the thread that forks it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var empty, old unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &empty, &old); err != nil {
		return os.NewSyscallError("sigprocmask", err)
	}
	err := cmd.Start()
	if restore := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err == nil && restore != nil {
		return os.NewSyscallError("sigprocmask", restore)
	}
	return err
}

// forgetIgnored takes signals that are ignored, by our own wish or our
// parent's, into a channel that nobody reads. For us that is the same, but an
// ignored signal stays ignored over exec and a handled one becomes the default.
func forgetIgnored(into chan os.Signal) {
	if signals := ignoredSignals(); len(signals) > 0 {
		signal.Notify(into, signals...)
	}
}

// ignoredSignals asks the kernel, as Go knows only of some.
func ignoredSignals() []os.Signal {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return nil
	}
	defer f.Close()
	var signals []os.Signal
	for lines := bufio.NewScanner(f); lines.Scan(); {
		bits, found := strings.CutPrefix(lines.Text(), "SigIgn:\t")
		if !found {
			continue
		}
		set, _ := strconv.ParseUint(bits, 16, 64)
		for n := range 64 {
			if set&(1<<n) != 0 {
				signals = append(signals, syscall.Signal(n+1))
			}
		}
	}
	return signals
}

// closeOnExec marks every file but the first three, those that we inherited
// ourselves as well.
func closeOnExec() error {
	if unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	// Before Linux 5.11, and in some sandboxes, one by one.
	names, err := readNames("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
