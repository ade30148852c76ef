package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
)

// ErrNotExecutable says that the process can never be started as configured.
var ErrNotExecutable = errors.New("cannot execute")

// hopeless are the answers of execve that another try does not change.
var hopeless = []syscall.Errno{
	syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.ENOEXEC, syscall.ENOTDIR, syscall.EISDIR,
	syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.ELIBBAD, syscall.E2BIG,
}

// startError names what was tried, the kernel's answer and what to look at. It
// wraps ErrNotExecutable if another try is of no use.
func startError(cfg Config, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w %s: not found in PATH (errno %d): name the executable with its full path",
			ErrNotExecutable, cfg.Path, int(syscall.ENOENT))
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return fmt.Errorf("start %s: %w", cfg.Path, err)
	}
	if !slices.Contains(hopeless, errno) {
		return fmt.Errorf("start %s: %w (errno %d)", cfg.Path, errno, int(errno))
	}
	return fmt.Errorf("%w %s: %w (errno %d): %s", ErrNotExecutable, cfg.Path, errno, int(errno), startHint(cfg, errno))
}

func startHint(cfg Config, errno syscall.Errno) string {
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR:
		if _, err := os.Stat(cfg.Dir); cfg.Dir != "" && err != nil {
			return "its working directory " + cfg.Dir + " is missing"
		}
		if exists(cfg.Path) {
			return "the file is there, but the interpreter that its first line names is not (a line that ends in CR LF looks like that)"
		}
		return "check the path"
	case syscall.EACCES, syscall.EPERM:
		return "make it an executable file, on a volume that is not mounted noexec"
	case syscall.ENOEXEC, syscall.ELIBBAD:
		return "it is built for another kind of machine, or a script without a #! line"
	case syscall.E2BIG:
		return "its arguments and environment are too long"
	default:
		return "check the path and the arguments"
	}
}
