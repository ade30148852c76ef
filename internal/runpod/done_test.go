package runpod_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// taken returns a client that has taken a job called "job".
func taken(t *testing.T, q *runpodtest.Server, cfg runpod.Config) *runpod.Client {
	t.Helper()
	q.Submit("job", `{}`)
	c, _ := start(t, cfg)
	takeOne(t, c, "job")
	return c
}

// A result is posted until it arrives, through minutes of outage of any kind, and is accepted once.
func TestFault_R1_ResultOutage(t *testing.T) {
	const outage = 5 * time.Minute
	faults := map[string]runpodtest.Fault{
		"503 with HTML": {Status: 503, Body: "<html>"}, "429": {Status: 429}, "reset": {Cut: true},
		"hang": {Hang: time.Hour}, "302": {Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}, "408": {Status: 408}, "418": {Status: 418},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				c := taken(t, q, config(q))
				f.Call, f.For = runpodtest.Done, outage
				q.Inject(f)
				begun := time.Now()
				finish(t, c, completed("job"))
				// A post that hangs is given a minute.
				if late := time.Since(begun) - outage; late > 75*time.Second || late > 15*time.Second && f.Hang == 0 {
					t.Errorf("delivered %s after the outage", late)
				}
				if n := q.Ledger().Faults[runpodtest.Done]; n < 4 || n > 200 {
					t.Errorf("%d tries", n)
				}
				wantOutcome(t, q, "job", runpodtest.Completed)
				check(t, q)
			})
		})
	}
}

// With a single try the same outage loses the result.
func TestFault_R1_TwinSingleTryLosesTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		cfg := config(q)
		cfg.ResultDeadline = 1
		c := taken(t, q, cfg)
		q.Inject(runpodtest.Fault{Call: runpodtest.Done, Status: 503})
		err := c.Done(t.Context(), completed("job"))
		if err == nil || !strings.Contains(err.Error(), "given up after try 1") {
			t.Errorf("Done = %v, want an error", err)
		}
		if err := q.Check(); err == nil || !strings.Contains(err.Error(), "job: lost") {
			t.Errorf("Check = %v, want the job to be lost", err)
		}
	})
}

// The deadline of a result is kept, and so is the context's, which is the budget of a shutdown.
func TestFault_R1_DeadlineAndBudgetAreKept(t *testing.T) {
	for _, budget := range []time.Duration{6 * time.Second, time.Hour} {
		for name, f := range map[string]runpodtest.Fault{"503": {Status: 503}, "hang": {Hang: time.Hour}} {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				c := taken(t, q, config(q))
				f.Call, f.For = runpodtest.Done, 2*time.Hour
				q.Inject(f)
				ctx, cancel := context.WithTimeout(t.Context(), budget)
				defer cancel()
				begun := time.Now()
				err := c.Done(ctx, completed("job"))
				took := time.Since(begun)
				if limit := min(budget, 10*time.Minute); err == nil || took > limit+time.Minute && f.Hang > 0 || took > limit && f.Hang == 0 || took < limit-16*time.Second {
					t.Errorf("%s, %s: gave up after %s: %v", name, budget, took, err)
				}
			})
		}
	}
}

// A result whose answer was lost is posted again with the same bytes and the same id, and counts once.
func TestFault_R2_AnswerToResultLost(t *testing.T) {
	for name, f := range map[string]runpodtest.Fault{"cut": {Cut: true}, "502": {Status: 502}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				c := taken(t, q, config(q))
				f.Call, f.Act, f.Times = runpodtest.Done, true, 3
				q.Inject(f)
				finish(t, c, completed("job"))
				if n := len(q.Job("job").Posts); n != 4 {
					t.Errorf("posted %d times, want 4", n)
				}
				check(t, q)
			})
		})
	}
}

// "Already ended" ends the tries as a success.
func TestFault_R3_AlreadyEnded(t *testing.T) {
	for _, status := range []int{404, 409, 410, 422} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, runpodtest.Config{})
			c := taken(t, q, config(q))
			q.Inject(runpodtest.Fault{Call: runpodtest.Done, Times: 9, Status: status})
			if err := c.Done(t.Context(), completed("job")); err != nil {
				t.Errorf("%d: Done = %v", status, err)
			}
			if n := q.Ledger().Faults[runpodtest.Done]; n != 1 {
				t.Errorf("%d: posted %d times, want once", status, n)
			}
		})
	}
}

// A result that is refused for good is replaced by a small failure with cause result_rejected, so that the job never shows as completed and empty.
func TestFault_R3_RefusedResultBecomesFailure(t *testing.T) {
	for _, status := range []int{400, 413} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{ResultLimit: 1 << 20, LimitStatus: status})
				c := taken(t, q, config(q))
				r := job.Result{ID: "job", Refresh: true, Output: &job.Output{Files: []job.File{image(make([]byte, 1<<20))}}}
				err := c.Done(t.Context(), r)
				if err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) {
					t.Errorf("Done = %v, want an error with the status", err)
				}
				o := wantOutcome(t, q, "job", runpodtest.Failed)
				wantCause(t, o, "result_rejected")
				if !o.StopPod || o.Size > 2<<10 {
					t.Errorf("stopPod is %v, size %d", o.StopPod, o.Size)
				}
				for _, word := range []string{fmt.Sprint(status), "1398", "BUCKET_ENDPOINT_URL"} {
					if !strings.Contains(o.Error, word) {
						t.Errorf("%q does not tell %s", o.Error, word)
					}
				}
				check(t, q)
			})
		})
	}
}

// While the key is refused a result is kept for two minutes and no longer.
func TestFault_R3_KeyRefused(t *testing.T) {
	for _, outage := range []time.Duration{time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, runpodtest.Config{})
			c := taken(t, q, config(q))
			q.Inject(runpodtest.Fault{Call: runpodtest.Done, For: outage, Status: 401})
			begun := time.Now()
			err := c.Done(t.Context(), completed("job"))
			took := time.Since(begun)
			if (err == nil) != (outage == time.Minute) || took > 2*time.Minute || took < time.Minute {
				t.Errorf("outage of %s: Done = %v after %s", outage, err, took)
			}
		})
	}
}

// An error is always a string that says something, with what else is known of it in the output.
func TestFault_R7_ErrorIsAString(t *testing.T) {
	tests := map[string]*job.Failure{
		"plain":       {Kind: "workflow", Cause: "node_failed", Message: "Node 4 raised ValueError."},
		"no message":  {Kind: "internal", Cause: "node_failed"},
		"nothing":     {},
		"details":     {Cause: "c", Message: "m", Details: map[string]any{"node": 4}},
		"JSON inside": {Cause: "c", Message: `{"error": {"type": "x"}}`},
		"no UTF-8":    {Cause: "c", Message: "broken \xff\xfe here"},
		"controls":    {Cause: "c", Message: "a\x00b\x1b[31m\r\n\u2028"},
		"no details":  {Cause: "c", Message: "m", Details: math.NaN()},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				c := taken(t, q, config(q))
				err := c.Done(t.Context(), job.Result{ID: "job", Failure: f})
				if broken := name == "no details"; (err != nil) != broken {
					t.Errorf("Done = %v", err)
				}
				o := wantOutcome(t, q, "job", runpodtest.Failed)
				if o.Error == "" || !json.Valid(o.Output) {
					t.Errorf("error %q, output %s", o.Error, o.Output)
				}
				check(t, q)
			})
		})
	}
}

// image is an output file with a content.
func image(data []byte) job.File {
	return job.File{Filename: "a.png", Kind: "images", Content: job.Content{
		Size: int64(len(data)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}}
}

func TestResultFilesAreReadAgainForEachTryAndNotAfterwards(t *testing.T) {
	q := runpodtest.NewServer(t, runpodtest.Config{})
	cfg := config(q)
	cfg.BackoffMax = time.Millisecond
	c := taken(t, q, cfg)
	path := filepath.Join(t.TempDir(), "a.png")
	if err := os.WriteFile(path, bytes.Repeat([]byte("pixel"), 20_000), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := 0
	r := job.Result{ID: "job", Output: &job.Output{Files: []job.File{{
		Filename: "a.png", Kind: "images",
		Content: job.Content{Size: 100_000, Open: func() (io.ReadCloser, error) { opened++; return os.Open(path) }},
	}}}}
	q.Inject(runpodtest.Fault{Call: runpodtest.Done, Times: 2, Status: 503})
	finish(t, c, r)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if opened != 4 { // three tries, and one for the memory
		t.Errorf("the file was opened %d times, want 4", opened)
	}
	q.Redeliver("job")
	takeInVain(t, c, 200*time.Millisecond)
	if err := q.WaitLedger(t.Context(), func(l runpodtest.Ledger) bool { return len(l.Jobs[0].Posts) == 2 }); err != nil {
		t.Fatal(err)
	}
	check(t, q)
}

func TestUnreadableFilesBecomeFailure(t *testing.T) {
	short := image([]byte("short"))
	short.Content.Size = 500_000
	gone := image(nil)
	gone.Content = job.Content{Size: 9, Open: func() (io.ReadCloser, error) { return nil, fs.ErrNotExist }}
	for name, f := range map[string]job.File{"shorter than promised": short, "gone": gone} {
		t.Run(name, func(t *testing.T) {
			q := runpodtest.NewServer(t, runpodtest.Config{})
			c := taken(t, q, config(q))
			err := c.Done(t.Context(), job.Result{ID: "job", Output: &job.Output{Files: []job.File{f}}})
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("Done = %v, want the cause", err)
			}
			wantCause(t, wantOutcome(t, q, "job", runpodtest.Failed), "result_unreadable")
			check(t, q)
		})
	}
}

// A result whose files cannot be opened because file descriptors have run out is posted again until there are some: its job is done, and would be lost for nothing.
func TestFault_Z3_ResultWaitsForDescriptors(t *testing.T) {
	q := runpodtest.NewServer(t, runpodtest.Config{})
	c := taken(t, q, config(q))
	f, tries := image([]byte("picture")), 0
	open := f.Content.Open
	f.Content.Open = func() (io.ReadCloser, error) {
		if tries++; tries <= 4 {
			return nil, &fs.PathError{Op: "open", Path: "a.png", Err: syscall.EMFILE}
		}
		return open()
	}
	if err := c.Done(t.Context(), job.Result{ID: "job", Output: &job.Output{Files: []job.File{f}}}); err != nil {
		t.Errorf("Done = %v", err)
	}
	wantOutcome(t, q, "job", runpodtest.Completed)
	check(t, q)
}
