package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A volume that stalls holds up one call, which is not waited for longer than its limit or its job lasts; no second call gets stuck behind it, and when the volume answers again everything goes on.
func TestFault_Z8_StalledVolumeIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var v volume
		entered, answer := 0, make(chan struct{})
		stall := func() (int, error) { entered++; <-answer; return entered, nil }

		begun := time.Now()
		if _, err := touch(t.Context(), &v, time.Minute, stall); !errors.Is(err, errStalled) || time.Since(begun) != time.Minute {
			t.Errorf("touch = %v after %v, want %v after 1m", err, time.Since(begun), errStalled)
		}
		if _, err := touch(t.Context(), &v, time.Second, stall); !errors.Is(err, errStalled) {
			t.Errorf("second touch = %v, want %v", err, errStalled)
		}
		canceled, cancel := context.WithCancelCause(t.Context())
		cancel(errShutdown)
		if _, err := touch(canceled, &v, time.Hour, stall); !errors.Is(err, errShutdown) {
			t.Errorf("touch at shutdown = %v, want %v", err, errShutdown)
		}
		synctest.Wait()
		if entered != 1 {
			t.Errorf("%d calls are stuck, want 1", entered)
		}
		close(answer)
		if n, err := touch(t.Context(), &v, time.Second, stall); n != 2 || err != nil {
			t.Errorf("touch after the stall = %d, %v", n, err)
		}
	})
}

// A panic in a call to the volume is the caller's, with the place it came from.
func TestPanicInTouchIsTheCallers(t *testing.T) {
	defer func() {
		p := recover()
		if r, ok := p.(relayed); !ok || r.String() != "boom" || !strings.Contains(string(stackOf(p)), "volume_test.go") {
			t.Errorf("recovered %v from\n%s", p, stackOf(p))
		}
	}()
	var v volume
	_, err := touch(t.Context(), &v, time.Minute, func() (int, error) { panic("boom") })
	t.Errorf("touch = %v, want a panic", err)
}

func TestFilesInUse(t *testing.T) {
	var v volume
	v.keep("abcdef")
	if !v.inUse("abc") || v.inUse("abd") || v.inUse("abcdefg") {
		t.Error("the wrong files are in use")
	}
	v.release("abcdef")
	if v.inUse("abc") {
		t.Error("files are in use after their release")
	}
}
