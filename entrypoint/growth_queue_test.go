package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A fleetQueue gives jobs to a fleet, and counts the calls of each second.
type fleetQueue struct {
	fleet
	begun time.Time
	jobs  chan string
	fell  chan struct{} // closed when it goes down

	mu      sync.Mutex
	isDown  bool
	seconds [len(calls)][]int
}

// run lets so many pods work at a queue of its own, and returns what that saw.
func (f fleet) run(t *testing.T, pods int) *fleetQueue {
	q := &fleetQueue{fleet: f}
	synctest.Test(t, func(t *testing.T) {
		q.begun, q.jobs, q.fell = time.Now(), make(chan string, 1<<16), make(chan struct{})
		pipe := runpodtest.NewPipe()
		server := &http.Server{Handler: q, ErrorLog: log.New(io.Discard, "", 0)}
		ctx, stop := context.WithCancel(t.Context())
		var parts sync.WaitGroup
		parts.Go(func() { _ = server.Serve(pipe) }) // until it is closed
		parts.Go(func() { q.submit(ctx, float64(pods)*f.jobs) })
		for n := range pods {
			parts.Go(func() { f.pod(t, ctx, n, pipe) })
		}
		time.Sleep(fleetStart + fleetWatched)
		q.turn(false)
		time.Sleep(fleetAfter)
		stop()
		_ = server.Close() // all of it is in this process
		parts.Wait()
	})
	return q
}

// submit gives the queue its jobs, and takes it down if it has to go.
func (q *fleetQueue) submit(ctx context.Context, rate float64) {
	down := time.NewTimer(fleetStart)
	defer down.Stop()
	tick := time.NewTicker(time.Duration(float64(time.Second) / max(rate, 1e-3)))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
			q.jobs <- fmt.Sprintf(`{"id":"job-%d","input":{}}`, n)
		case <-down.C:
			if q.down != 0 {
				q.turn(true)
				close(q.fell)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (q *fleetQueue) turn(down bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.isDown = down
}

func (q *fleetQueue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // one that is cut counts as well
	call := callOf(r.URL.Path, body)
	if q.count(call) {
		if q.retryAfter != "" {
			w.Header().Set("Retry-After", q.retryAfter)
		}
		w.WriteHeader(q.down)
		return
	}
	if call != take && call != stop {
		return
	}
	jobs := q.jobs
	if call == stop {
		jobs = nil
	}
	held := time.NewTimer(q.hold)
	defer held.Stop()
	fell := q.fell
	select {
	case <-fell: // it is back
		fell = nil
	default:
	}
	select {
	case text := <-jobs:
		_, _ = io.WriteString(w, text) // a pod that is gone misses a job
	case <-held.C:
		w.WriteHeader(http.StatusNoContent)
	case <-fell:
		w.WriteHeader(q.down)
	case <-r.Context().Done():
	}
}

// count counts a call, and reports whether the queue is down.
func (q *fleetQueue) count(call int) (down bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := int(time.Since(q.begun) / time.Second)
	for len(q.seconds[call]) <= at {
		q.seconds[call] = append(q.seconds[call], 0)
	}
	q.seconds[call][at]++
	return q.isDown
}

// between returns the mean and the largest number of calls in a second.
func (q *fleetQueue) between(call int, from, to time.Duration) (mean float64, most int) {
	sum := 0
	for at := int(from.Seconds()); at < int(to.Seconds()); at++ {
		n := 0
		if at < len(q.seconds[call]) {
			n = q.seconds[call][at]
		}
		sum, most = sum+n, max(most, n)
	}
	return float64(sum) / (to - from).Seconds(), most
}

func callOf(path string, body []byte) int {
	switch call := strings.Split(path, "/")[1]; {
	case call == "job-stop":
		return stop
	case call == "ping":
		return heartbeat
	case call == "job-done" && bytes.Contains(body, []byte(`"IN_PROGRESS"`)):
		return progress
	case call == "job-done":
		return result
	}
	return take
}

// pod takes jobs until ctx ends. The delivery of one goes on beside the next, as
// in a real pod.
func (f fleet) pod(t *testing.T, ctx context.Context, n int, pipe *runpodtest.Pipe) {
	time.Sleep(rand.N(fleetStart / 2))
	const base = "http://queue.test"
	c, err := runpod.New(runpod.Config{
		TakeURL:  runpod.Template{Name: "take", URL: base + "/job-take/$ID"},
		DoneURL:  runpod.Template{Name: "done", URL: base + "/job-done/$RUNPOD_POD_ID/$ID"},
		PingURL:  runpod.Template{Name: "ping", URL: base + "/ping/$RUNPOD_POD_ID"},
		APIKey:   "benchmark-key-0123456789",
		WorkerID: fmt.Sprintf("pod-%d", n), Dial: pipe.Dial, KeepResult: 1,
	}, zap.NewNop())
	if err != nil {
		t.Error(err)
		return
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { _ = c.Run(ctx) }) // until ctx ends
	for ctx.Err() == nil {
		jobs, _ := c.Take(ctx, 1) // its one error is that of ctx
		for _, j := range jobs {
			for second := range int(jobTime) {
				c.Progress(j.ID, job.Progress{Phase: "execute", Percent: float64(10 * second)})
				time.Sleep(time.Second)
			}
			parts.Go(func() { _ = c.Done(ctx, job.Result{ID: j.ID, Output: &job.Output{}}) }) // or it is given up at the end
		}
	}
}
