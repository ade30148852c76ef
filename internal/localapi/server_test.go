package localapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

func TestJobRunsFromQueueToResult(t *testing.T) {
	for _, root := range []string{"", "/v2/my-endpoint"} {
		t.Run("root "+root, func(t *testing.T) {
			a := serve(t, Config{SpoolDir: t.TempDir(), WorkerID: "pod-1"})
			id := a.want(http.StatusOK, "POST", root+"/run",
				`{"input":{"a":1},"policy":{"executionTimeout":5000},"webhook":"https://x.test","s3Config":{}}`).job(t).ID

			j := a.takeOne()
			if j.ID != id || string(j.Input) != `{"a":1}` || j.Timeout != 5*time.Second || j.Taken.IsZero() {
				t.Errorf("Take = %+v, want job %s with its input and timeout", j, id)
			}
			a.Progress(id, job.Progress{Percent: 50, Phase: "execute"})
			running := a.want(http.StatusOK, "GET", root+"/status/"+id, "").job(t)
			if running.Status != inProgress || !strings.Contains(string(running.Output), `"percent":50`) {
				t.Errorf("status of the running job = %+v", running)
			}
			a.done(image(id, 3))
			got := a.want(http.StatusOK, "POST", root+"/status/"+id, "").job(t)
			if got.Status != completed || !strings.Contains(string(got.Output), `"data":"AAAA"`) || got.WorkerID != "pod-1" {
				t.Errorf("status of the ended job = %+v, output %s", got, got.Output)
			}
		})
	}
}

func TestTakeHandsOutInOrder(t *testing.T) {
	a := serve(t, Config{})
	var want, got []string
	for range 5 {
		want = append(want, a.submitJob())
	}
	for len(got) < len(want) {
		jobs, err := a.Take(t.Context(), 2)
		if err != nil || len(jobs) == 0 || len(jobs) > 2 {
			t.Fatalf("Take = %d jobs, %v, want 1 or 2", len(jobs), err)
		}
		for _, j := range jobs {
			got = append(got, j.ID)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order of jobs (-want +got):\n%s", diff)
	}
}

func TestTakeWaitsAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{})
		taken := make(chan job.Job)
		go func() { taken <- a.takeOne() }()
		synctest.Wait()
		id := a.submitJob()
		if j := <-taken; j.ID != id {
			t.Errorf("Take = %s, want %s", j.ID, id)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if jobs, err := a.Take(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Take = %v, %v, want the context's error", jobs, err)
		}
	})
}

func TestRunSyncAnswersWhenTheJobEnds(t *testing.T) {
	a := serve(t, Config{SpoolDir: t.TempDir()})
	later := a.inBackground("POST", "/runsync", someJob)
	j := a.takeOne()
	if !strings.HasPrefix(j.ID, "sync-") {
		t.Errorf("id = %s, want sync-...", j.ID)
	}
	a.done(image(j.ID, 3))
	if got := (<-later).job(t); got.ID != j.ID || got.Status != completed || got.Output == nil {
		t.Errorf("answer = %+v, want the completed job %s", got, j.ID)
	}
}

func TestRunSyncAnswersWhenItsWaitEnds(t *testing.T) {
	tests := []struct {
		name, query string
		taken       bool
		wait        time.Duration
		want        state
	}{
		{"default, queued", "", false, 90 * time.Second, inQueue},
		{"default, running", "", true, 90 * time.Second, inProgress},
		{"shortest", "?wait=1000", false, time.Second, inQueue},
		{"longest", "?wait=300000", true, 5 * time.Minute, inProgress},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := serveInMemory(t, Config{})
				begun := time.Now()
				later := a.inBackground("POST", "/runsync"+tt.query, someJob)
				synctest.Wait()
				if tt.taken {
					a.Progress(a.takeOne().ID, job.Progress{Percent: 10})
				}
				got := (<-later).job(t)
				if waited := time.Since(begun); waited != tt.wait {
					t.Errorf("waited %v, want %v", waited, tt.wait)
				}
				if got.Status != tt.want || got.ID == "" || got.Output != nil {
					t.Errorf("answer = %+v, want the id, %s and no output", got, tt.want)
				}
			})
		})
	}
}

func TestStreamGivesEachChunkOnce(t *testing.T) {
	a := serve(t, Config{})
	id := a.submitJob()
	a.takeOne()
	for i := range maxChunks + 3 {
		a.Progress(id, job.Progress{Step: i + 1})
	}
	got := a.want(http.StatusOK, "GET", "/stream/"+id, "").job(t)
	if len(got.Stream) != maxChunks || got.Stream[0].Output.Step != 4 || got.Status != inProgress {
		t.Errorf("stream = %s with %d chunks from step %d on, want the last %d", got.Status, len(got.Stream), got.Stream[0].Output.Step, maxChunks)
	}
	a.Progress(id, job.Progress{Step: 1000})
	a.done(image(id, 1))
	got = a.want(http.StatusOK, "POST", "/stream/"+id, "").job(t)
	if len(got.Stream) != 1 || got.Stream[0].Output.Step != 1000 || got.Status != completed {
		t.Errorf("second stream = %+v, want the one new chunk", got)
	}
}

func TestCancelQueuedJobIsNeverHandedOut(t *testing.T) {
	a := serve(t, Config{})
	dropped, kept := a.submitJob(), a.submitJob()
	a.want(http.StatusOK, "POST", "/cancel/"+dropped, "")
	if j := a.takeOne(); j.ID != kept {
		t.Errorf("Take = %s, want %s", j.ID, kept)
	}
	if got := a.stateOf(dropped); got != cancelled {
		t.Errorf("state = %s, want CANCELLED", got)
	}
}

func TestCancelRunningJobKeepsItsLateResultOut(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	id := a.submitJob()
	j := a.takeOne()
	a.want(http.StatusOK, "POST", "/cancel/"+id, "")
	<-j.Canceled
	a.done(image(id, 100))
	got := a.want(http.StatusOK, "GET", "/status/"+id, "").job(t)
	if got.Status != cancelled || got.Output != nil {
		t.Errorf("job = %+v, want CANCELLED without output", got)
	}
	if left := resultsIn(t, dir); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestCancelDuringDoneLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	a := serve(t, Config{SpoolDir: dir})
	id := a.submitJob()
	a.takeOne()
	r := image(id, 100)
	open := r.Output.Files[0].Content.Open
	r.Output.Files[0].Content.Open = func() (io.ReadCloser, error) {
		a.want(http.StatusOK, "POST", "/cancel/"+id, "")
		return open()
	}
	a.done(r)
	if got := a.stateOf(id); got != cancelled {
		t.Errorf("state = %s, want CANCELLED", got)
	}
	if left := resultsIn(t, dir); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}

// TestFault_A2_DeleteFreesTheWorker: a running job is given up by an explicit
// DELETE, and nothing is left of it but its state.
func TestFault_A2_DeleteFreesTheWorker(t *testing.T) {
	a := serve(t, Config{})
	id := a.submitJob()
	j := a.takeOne()
	a.want(http.StatusOK, "DELETE", "/jobs/"+id, "")
	<-j.Canceled
	if got := a.stateOf(id); got != cancelled {
		t.Errorf("state = %s, want CANCELLED", got)
	}
	a.want(http.StatusNotFound, "DELETE", "/jobs/nobody", "")
}

func TestCancelEndedJobChangesNothing(t *testing.T) {
	a := serve(t, Config{})
	id := a.submitJob()
	a.takeOne()
	a.done(image(id, 1))
	a.want(http.StatusOK, "POST", "/cancel/"+id, "")
	if got := a.stateOf(id); got != completed {
		t.Errorf("state = %s, want COMPLETED", got)
	}
}

func TestRetryQueuesUnderTheSameID(t *testing.T) {
	for cause, want := range map[string]state{"node_error": failed, "timeout": timedOut} {
		t.Run(string(want), func(t *testing.T) {
			a := serve(t, Config{})
			id := a.submitJob()
			first := a.takeOne()
			a.done(failure(id, cause))
			if got := a.stateOf(id); got != want {
				t.Fatalf("state = %s, want %s", got, want)
			}
			a.want(http.StatusOK, "POST", "/retry/"+id, "")
			again := a.takeOne()
			if again.ID != id || string(again.Input) != string(first.Input) {
				t.Errorf("retried job = %+v, want it as it was", again)
			}
			a.done(image(id, 1))
			if got := a.want(http.StatusOK, "GET", "/status/"+id, "").job(t); got.Status != completed || got.Error != "" {
				t.Errorf("job = %+v, want COMPLETED without the first error", got)
			}
		})
	}
}

func TestRetryIsRefusedInOtherStates(t *testing.T) {
	a := serve(t, Config{})
	id := a.submitJob()
	check := func(want state) {
		t.Helper()
		a.want(http.StatusConflict, "POST", "/retry/"+id, "")
		if got := a.stateOf(id); got != want {
			t.Errorf("state = %s, want %s", got, want)
		}
	}
	check(inQueue)
	a.takeOne()
	check(inProgress)
	a.done(image(id, 1))
	check(completed)
}

func TestPurgeTouchesQueuedJobsOnly(t *testing.T) {
	a := serve(t, Config{})
	running := a.submitJob()
	a.takeOne()
	waiting := a.inBackground("POST", "/runsync", someJob)
	queued := a.submitJob()
	for a.store.count().InQueue < 2 {
		a.stateOf(queued) // until the request in the background has arrived, too
	}
	if got := a.want(http.StatusOK, "POST", "/purge-queue", ""); string(got.body) != `{"removed":2,"status":"completed"}` {
		t.Errorf("answer = %s", got.body)
	}
	if got := (<-waiting).job(t).Status; got != cancelled {
		t.Errorf("waiting client got %s, want CANCELLED", got)
	}
	if a.stateOf(queued) != cancelled || a.stateOf(running) != inProgress {
		t.Errorf("queued is %s, running is %s", a.stateOf(queued), a.stateOf(running))
	}
}

func TestPingTellsReadiness(t *testing.T) {
	var ready atomic.Bool
	a := serve(t, Config{Ready: func() error {
		if !ready.Load() {
			return errors.New("booting")
		}
		return nil
	}})
	a.want(http.StatusNoContent, "GET", "/ping", "")
	if got := a.send("GET", "/health", ""); !strings.Contains(string(got.body), `"initializing":1,"ready":0`) {
		t.Errorf("health = %s, want one initializing", got.body)
	}
	ready.Store(true)
	a.want(http.StatusOK, "GET", "/ping", "")
}

var anyID = regexp.MustCompile(`"id":"(sync-)?[0-9a-f-]{36}-u1"`)

func TestAnswersHaveRunPodsShapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{WorkerID: "pod-1"})
		golden := func(name string, got answer) {
			t.Helper()
			compareGolden(t, name, anyID.ReplaceAll(got.body, []byte(`"id":"${1}ID"`)))
		}
		started := func() string {
			id := a.submitJob()
			time.Sleep(1500 * time.Millisecond)
			a.takeOne()
			return id
		}

		golden("run", a.send("POST", "/run", someJob))
		golden("purge-queue", a.send("POST", "/purge-queue", ""))
		golden("runsync-wait-over", a.send("POST", "/runsync?wait=1000", someJob))
		a.takeOne()

		id := a.submitJob()
		golden("status-in-queue", a.send("GET", "/status/"+id, ""))
		golden("health", a.send("GET", "/health", ""))
		golden("cancel", a.send("POST", "/cancel/"+id, ""))
		golden("status-cancelled", a.send("GET", "/status/"+id, ""))

		id = started()
		golden("status-in-progress", a.send("GET", "/status/"+id, ""))
		a.Progress(id, job.Progress{Percent: 12.5, Phase: "execute", Node: "3", Class: "KSampler", Step: 1, Steps: 8, Attempt: 1})
		golden("status-with-progress", a.send("GET", "/status/"+id, ""))
		golden("stream", a.send("GET", "/stream/"+id, ""))
		golden("stream-empty", a.send("GET", "/stream/"+id, ""))
		time.Sleep(2 * time.Second)
		a.done(image(id, 3))
		golden("status-completed", a.send("GET", "/status/"+id, ""))

		id = started()
		a.done(failure(id, "node_error"))
		golden("status-failed", a.send("GET", "/status/"+id, ""))
		golden("retry", a.send("POST", "/retry/"+id, ""))
		a.takeOne()
		a.done(failure(id, "timeout"))
		golden("status-timed-out", a.send("GET", "/status/"+id, ""))

		golden("error", a.send("GET", "/status/nobody", ""))
	})
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".json")
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
