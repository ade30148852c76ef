package supervisor

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUnkillable says that the process, or something that came of it, has
// outlived SIGKILL: it hangs in the kernel, in a driver or in a dead volume.
var ErrUnkillable error = unkillable{}

type unkillable struct{}

func (unkillable) Error() string { return "cannot be killed" }

// Unkillable is for those who know the error only as the cause of a context.
func (unkillable) Unkillable() bool { return true }

// An Exit is the end of an incarnation. It is an error so that it can be the
// cause of the context that ended with the process.
type Exit struct {
	Incarnation int
	At          time.Time
	Uptime      time.Duration
	// Code is the exit code, and Signal 0, unless a signal ended the process.
	Code   int
	Signal syscall.Signal
	// OOM is set if it was the kernel's out-of-memory killer. MaybeOOM says
	// that it may have been, and that the cgroup's counters cannot tell.
	OOM      *OOM
	MaybeOOM bool
	// Tail is the last lines of its output, without colours and scrubbed.
	Tail []string
	// Err is why the process could not be started; then it never ran.
	Err error
	// Stopped is why the supervisor ended the process, "" if it did not.
	// Planned says that this was a wish (Restart, shutdown) and no failure;
	// else Cause is the error of Watch.
	Stopped string
	Planned bool
	Cause   error
	// Reboot says that the process left the reboot file and exited with code 0.
	Reboot bool
	// WasReady, ReadyFor and Worked repeat what Ready and Worked told of it.
	WasReady bool
	ReadyFor time.Duration
	Worked   bool
}

// OOM is what the memory cgroup tells of a process that it killed, in bytes; 0
// where there is no limit or no record.
type OOM struct{ Limit, Peak uint64 }

// Error tells how the process ended, fit to follow its name and a colon.
func (e Exit) Error() string {
	after := " after " + roundUptime(e.Uptime).String()
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Stopped != "":
		return "stopped (" + e.Stopped + ")" + after
	case e.Reboot:
		return "exited to be restarted" + after
	case e.Signal != 0:
		return e.status() + e.memory() + after
	default:
		return e.status() + after
	}
}

// status is what the kernel told of the end, whoever wished for it.
func (e Exit) status() string {
	switch {
	case e.Err != nil:
		return "never ran"
	case e.Signal != 0:
		return "killed by " + signalName(e.Signal)
	default:
		return fmt.Sprintf("exited with code %d", e.Code)
	}
}

// Unwrap returns what kept the process from starting, or the error of Watch.
func (e Exit) Unwrap() error {
	if e.Err != nil {
		return e.Err
	}
	return e.Cause
}

// OutOfMemory tells whether the kernel's out-of-memory killer is known to have
// ended the process.
func (e Exit) OutOfMemory() bool { return e.OOM != nil }

// LastLines returns the last lines of the process's output, for those who know
// the exit only as the cause of a context.
func (e Exit) LastLines() []string { return e.Tail }

// voluntary tells whether the process ended of its own will and well.
func (e Exit) voluntary() bool {
	return e.Err == nil && e.Stopped == "" && e.Signal == 0 && e.Code == 0
}

func (e Exit) memory() string {
	switch {
	case e.MaybeOOM:
		return " (maybe out of memory: the cgroup's counters cannot be read)"
	case e.OOM == nil:
		return ""
	}
	text := " (out of memory"
	separator := ": "
	if e.OOM.Limit > 0 {
		text += separator + "limit " + bytesText(e.OOM.Limit)
		separator = ", "
	}
	if e.OOM.Peak > 0 {
		text += separator + "peak " + bytesText(e.OOM.Peak)
	}
	return text + ")"
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}

func bytesText(n uint64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func roundUptime(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(100 * time.Millisecond)
	default:
		return d.Round(time.Second)
	}
}
