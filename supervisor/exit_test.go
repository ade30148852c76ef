package supervisor

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExitError(t *testing.T) {
	const gib = 1 << 30
	tests := []struct {
		exit Exit
		want string
	}{
		{Exit{Code: 1, Uptime: 2100 * time.Millisecond}, "exited with code 1 after 2.1s"},
		{Exit{Code: 0, Uptime: 12345678 * time.Nanosecond}, "exited with code 0 after 12ms"},
		{Exit{Reboot: true, Uptime: 90 * time.Second}, "exited to be restarted after 1m30s"},
		{Exit{Signal: unix.SIGSEGV, Uptime: 192400 * time.Millisecond}, "killed by SIGSEGV after 3m12s"},
		{Exit{Signal: 34, Uptime: time.Second}, "killed by signal 34 after 1s"},
		{Exit{Signal: unix.SIGKILL, Uptime: time.Second}, "killed by SIGKILL after 1s"},
		{Exit{Signal: unix.SIGKILL, OOM: &OOM{Limit: 8 * gib, Peak: 8*gib - gib/10}, Uptime: 192 * time.Second},
			"killed by SIGKILL (out of memory: limit 8.0 GiB, peak 7.9 GiB) after 3m12s"},
		{Exit{Signal: unix.SIGKILL, OOM: &OOM{Limit: 200 << 20}, Uptime: time.Second},
			"killed by SIGKILL (out of memory: limit 200.0 MiB) after 1s"},
		{Exit{Signal: unix.SIGKILL, OOM: &OOM{Peak: gib}, Uptime: time.Second},
			"killed by SIGKILL (out of memory: peak 1.0 GiB) after 1s"},
		{Exit{Signal: unix.SIGKILL, OOM: &OOM{}, Uptime: time.Second}, "killed by SIGKILL (out of memory) after 1s"},
		{Exit{Signal: unix.SIGKILL, MaybeOOM: true, Uptime: time.Second},
			"killed by SIGKILL (maybe out of memory: the cgroup's counters cannot be read) after 1s"},
		{Exit{Signal: unix.SIGTERM, Stopped: "no answer for 2m0s", Uptime: time.Hour}, "stopped (no answer for 2m0s) after 1h0m0s"},
		{Exit{Err: errors.New("start x: no")}, "start x: no"},
	}
	for _, tt := range tests {
		if got := tt.exit.Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestExitUnwrapsWhatCausedIt(t *testing.T) {
	if err := error(Exit{Err: unix.EAGAIN}); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%v does not wrap the error of the start", err)
	}
	if err := error(Exit{Stopped: "x", Cause: context.DeadlineExceeded}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap the error of Watch", err)
	}
	if errors.Is(Exit{Code: 1, Tail: []string{"x"}}, ErrCrashLoop) {
		t.Error("a plain exit is a crash loop")
	}
}
