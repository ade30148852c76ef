package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowly takes a body at 64 kB a second.
func slowly(_ int, _ http.ResponseWriter, r *http.Request) bool {
	taken := new(bytes.Buffer)
	for {
		_, err := io.CopyN(taken, r.Body, 64_000)
		if err == io.EOF {
			r.Body = io.NopCloser(taken)
			return false
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// On a slow line an upload takes as long as it takes, far beyond the idle
// timeout and the deadline.
func TestFault_S9_SlowUplink(t *testing.T) {
	for _, tt := range []struct {
		idle time.Duration
		want bool
	}{
		{defaultIdle, true},
		{500 * time.Millisecond, false}, // shorter than the line's own pauses: the defence is real
	} {
		t.Run(tt.idle.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, dial := newFake(t)
				fake.fault = slowly
				s, _ := testStore(t, dial, func(c *Config) { c.IdleTimeout = tt.idle; c.WholeSize = 1 << 30 })
				data := bytes.Repeat([]byte("x"), 12<<20)
				began := time.Now()
				_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.mp4", data))
				if (err == nil) != tt.want {
					t.Fatalf("Put: %v, want success: %t", err, tt.want)
				}
				if !tt.want {
					return
				}
				if took := time.Since(began); took < 3*time.Minute || fake.sent() != 1 {
					t.Errorf("it took %s and %d requests, want more than 3 minutes and 1", took, fake.sent())
				}
				if _, o := fake.only(); !bytes.Equal(o.data, data) {
					t.Error("the stored object differs from the file")
				}
			})
		})
	}
}

// A connection on which nothing moves is cut after 30 s and the file is sent
// again; the end of the job still ends the wait at once.
func TestFault_S9_StallIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, dial := newFake(t)
		fake.fault = first(1, stall(1<<20))
		s, logs := testStore(t, dial)
		began := time.Now()
		if _, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.mp4", make([]byte, 4<<20))); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < defaultIdle || took > defaultIdle+3*time.Second {
			t.Errorf("it took %s, want 30 s and a short pause", took)
		}
		if got := fmt.Sprint(logs.All()[0].ContextMap()["error"]); !strings.Contains(got, "no byte moved for 30s") {
			t.Errorf("logged %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		fake, dial := newFake(t)
		fake.fault = stall(0)
		s, _ := testStore(t, dial)
		stopped := errors.New("job timed out")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, stopped)
		defer cancel()
		began := time.Now()
		_, err := s.Put(ctx, "job-1", 0, bytesFile("a.mp4", make([]byte, 4<<20)))
		if !errors.Is(err, stopped) || time.Since(began) != 10*time.Second {
			t.Errorf("Put: %v after %s, want %v after 10 s", err, time.Since(began), stopped)
		}
	})
}
