package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A tap is a job queue of the least code. It hands out what is submitted and
// reads results away: a queue that looked into results of tens of megabytes
// would be measured instead of comfyvisor.
type tap struct {
	*httptest.Server
	jobs  chan string // JSON to be handed out
	taken chan time.Time
	done  chan delivery
	asked chan time.Time // when a poll began, if nobody has looked since
}

// A delivery is a result that has arrived.
type delivery struct {
	id    string
	at    time.Time
	bytes int64
}

func newTap(tb testing.TB) *tap {
	q := &tap{jobs: make(chan string, 1<<16), taken: make(chan time.Time, 1<<16), done: make(chan delivery, 1<<16), asked: make(chan time.Time, 1)}
	q.Server = httptest.NewServer(q)
	tb.Cleanup(q.Close)
	return q
}

func (q *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch call := strings.Split(r.URL.Path, "/")[1]; call {
	case "job-take", "job-take-batch":
		select {
		case q.asked <- time.Now():
		default:
		}
		select {
		case job := <-q.jobs:
			q.taken <- time.Now()
			_, _ = io.WriteString(w, job) // a worker that is gone is seen by its missing result
		case <-r.Context().Done():
		}
	case "job-stop":
		<-r.Context().Done()
	case "job-done":
		q.take(r)
	}
}

// take reads a result, or the progress of a job, which does not count.
func (q *tap) take(r *http.Request) {
	buffer := make([]byte, 256<<10)
	n, err := io.ReadFull(r.Body, buffer)
	isProgress := bytes.Contains(buffer[:min(n, 1000)], []byte(`"status":"IN_PROGRESS"`))
	size := int64(n)
	for err == nil {
		n, err = r.Body.Read(buffer)
		size += int64(n)
	}
	if !isProgress && (err == io.EOF || err == io.ErrUnexpectedEOF) {
		q.done <- delivery{r.Header.Get("X-Request-ID"), time.Now(), size}
	}
}

// env are the variables of a worker at this queue.
func (q *tap) env() map[string]string {
	return map[string]string{
		"RUNPOD_WEBHOOK_GET_JOB":     q.URL + "/job-take/$ID",
		"RUNPOD_WEBHOOK_POST_OUTPUT": q.URL + "/job-done/$RUNPOD_POD_ID/$ID",
		"RUNPOD_WEBHOOK_PING":        q.URL + "/ping/$RUNPOD_POD_ID",
		"RUNPOD_AI_API_KEY":          "benchmark-key-0123456789",
		"RUNPOD_POD_ID":              "worker-1",
	}
}

// A stand is a queue and a simulated ComfyUI, with a worker between them.
type stand struct {
	tb    testing.TB
	queue *tap
	comfy *comfytest.Server
	runs  chan comfytest.Execution // that have ended, in order
	jobs  int                      // submitted so far
}

// newStand makes a stand without a worker.
func newStand(tb testing.TB) *stand {
	s := &stand{tb: tb, queue: newTap(tb), runs: make(chan comfytest.Execution, 1<<16)}
	s.comfy = comfytest.NewServer(tb, comfytest.Config{
		Version: comfytest.V0330, NoCache: true,
		Record: func(e comfytest.Execution) {
			if e.Outcome != comfytest.Running {
				s.runs <- e
			}
		},
	})
	return s
}

// A round is what a number of jobs took, each list in the order of time.
type round struct {
	taken     []time.Time
	runs      []comfytest.Execution
	delivered []delivery
}

// round runs jobs that are all submitted at once.
func (s *stand) round(jobs int, workflow string) round {
	s.tb.Helper()
	for range jobs {
		s.submit(workflow)
	}
	return s.results(jobs)
}

func (s *stand) submit(workflow string) {
	s.jobs++
	s.queue.jobs <- fmt.Sprintf(`{"id":"job-%d","input":{"workflow":%s}}`, s.jobs, workflow)
}

// results waits for the results of so many jobs, all of which must succeed.
func (s *stand) results(jobs int) (r round) {
	s.tb.Helper()
	for range jobs {
		r.taken = append(r.taken, await(s.tb, s.queue.taken))
		r.runs = append(r.runs, await(s.tb, s.runs))
		r.delivered = append(r.delivered, await(s.tb, s.queue.done))
	}
	for _, run := range r.runs {
		if run.Outcome != comfytest.Success {
			s.tb.Fatalf("prompt %s: %s", run.PromptID, run.Outcome)
		}
	}
	return r
}

// await waits for what has to come.
func await[T any](tb testing.TB, from <-chan T) (next T) {
	tb.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case next = <-from:
	case <-timeout.C:
		tb.Fatal("what has to come does not come")
	}
	return next
}

// gaps is how long ComfyUI was idle between one prompt and the next.
func (r round) gaps() (gaps []time.Duration) {
	for i := range r.runs[1:] {
		gaps = append(gaps, r.runs[i+1].Started.Sub(r.runs[i].Ended))
	}
	return gaps
}

// overhead is the time from the hand-out of the one job to its result, without
// its execution.
func (r round) overhead() time.Duration {
	run := r.runs[0]
	return r.delivered[0].at.Sub(r.taken[0]) - run.Ended.Sub(run.Started)
}
