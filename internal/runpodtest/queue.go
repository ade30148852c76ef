package runpodtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Config says what kind of queue to simulate. Its zero value is a queue that
// answers at once, knows no key and has all the time in the world.
type Config struct {
	// APIKey is what the workers must send, "" if anything will do.
	APIKey string
	// Hold is how long a take without a job waits for one; 0 answers at once.
	Hold time.Duration
	// HoldStop is the same for the stop channel.
	HoldStop time.Duration
	// Lease is how long a job stays with a worker that does not name it in a
	// heartbeat. Then it is handed out again. 0 is for ever.
	Lease time.Duration
	// Waverless makes a queue like Waverless: URLs end in "$ID?", a worker that
	// has sent no heartbeat gets 500 for its takes, there is no stop channel, and
	// the job of a result is named by the header X-Request-ID alone.
	Waverless bool
	// ResultLimit is the largest result in bytes, 0 if there is none. A larger
	// one is answered LimitStatus, 413 by default.
	ResultLimit int64
	LimitStatus int
	// EndedStatus answers a result for a job that has ended, 200 by default.
	EndedStatus int
	// PingInterval is told to workers by Env.
	PingInterval time.Duration
	// Result is called with each accepted result. If it is set, the queue keeps
	// only size and hash of what it accepted. Its error is a violation.
	Result func(job string, body []byte) error
}

// A Queue hands out jobs and takes their results. Its methods may be called from
// any goroutine.
type Queue struct {
	cfg Config

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change
	jobs    map[string]*Job
	order   []*Job  // as submitted
	waiting []entry // to be handed out
	faults  []*scripted
	pinged  map[string]bool // workers that have sent a heartbeat
	gone    map[string]bool // workers that asked to be stopped
	takes   []Take
	pings   []Ping
	effects map[Call]int
	rushes  map[rushing]*rush
	doubts  []span
	faulty  []string // violations seen as they happened
}

// entry is what a take hands out: a job, or text that is none.
type entry struct {
	id   string // "" for an entry that no result can be told from
	text json.RawMessage
}

// New returns an empty queue.
func New(cfg Config) *Queue {
	return &Queue{
		cfg:     cfg,
		changed: make(chan struct{}),
		jobs:    make(map[string]*Job),
		pinged:  make(map[string]bool),
		gone:    make(map[string]bool),
		effects: make(map[Call]int),
		rushes:  make(map[rushing]*rush),
	}
}

// Submit adds a job whose input is the given JSON.
func (q *Queue) Submit(id, input string) {
	name, err := json.Marshal(id)
	if err != nil {
		panic(err)
	}
	q.SubmitEntry(id, fmt.Sprintf(`{"id":%s,"input":%s}`, name, input))
}

// SubmitEntry adds whatever a take shall hand out. With an id it is a job that
// must come to an end; without one nobody can end it.
func (q *Queue) SubmitEntry(id, text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := entry{id: id, text: json.RawMessage(text)}
	if id != "" && q.jobs[id] == nil {
		j := &Job{ID: id, Submitted: time.Now(), entry: e}
		q.jobs[id] = j
		q.order = append(q.order, j)
	}
	q.waiting = append(q.waiting, e)
	q.wake()
}

// Redeliver hands a job out once more, whether it runs or has ended.
func (q *Queue) Redeliver(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, q.jobs[id].entry)
	q.wake()
}

// Retry opens a job that has ended, as RunPod's /retry does, and hands it out
// again. Its earlier results are taken out of the ledger.
func (q *Queue) Retry(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.jobs[id]
	j.Outcome, j.Posts = nil, nil
	q.waiting = append(q.waiting, j.entry)
	q.wake()
}

// Stop ends a job and tells the worker that has it so on the stop channel.
func (q *Queue) Stop(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.jobs[id]
	if j.Outcome == nil {
		j.Outcome = &Outcome{Status: Cancelled}
	}
	j.stopping = true
	q.wake()
}

// An Outcome is how a job ended.
type Outcome struct {
	Status  string // Completed, Failed or Cancelled
	Output  json.RawMessage
	Error   string
	StopPod bool
	Worker  string
	Size    int64
	SHA256  string // of the whole body, in hexadecimal
	At      time.Time
}

// The states in which a job ends.
const (
	Completed = "COMPLETED"
	Failed    = "FAILED"
	Cancelled = "CANCELLED"
)

// Wait waits for the end of a job.
func (q *Queue) Wait(ctx context.Context, id string) (Outcome, error) {
	var outcome Outcome
	err := q.WaitFor(ctx, func() bool {
		j := q.jobs[id]
		if j == nil || j.Outcome == nil {
			return false
		}
		outcome = *j.Outcome
		return true
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("wait for job %s: %w", id, err)
	}
	return outcome, nil
}

// WaitLedger waits until the ledger is as cond wants it.
func (q *Queue) WaitLedger(ctx context.Context, cond func(Ledger) bool) error {
	return q.WaitFor(ctx, func() bool { return cond(q.ledger()) })
}

// WaitFor waits until cond, which is called with the queue locked, is true.
func (q *Queue) WaitFor(ctx context.Context, cond func() bool) error {
	for {
		q.mu.Lock()
		done, changed := cond(), q.changed
		q.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (q *Queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Env returns the variables of a worker at this queue, which is reached at base.
func (q *Queue) Env(base string) map[string]string {
	end := ""
	result := "/$RUNPOD_POD_ID/$ID?gpu=simulated"
	if q.cfg.Waverless {
		end, result = "?", "/$RUNPOD_POD_ID?"
	}
	env := map[string]string{
		"RUNPOD_POD_ID":              "worker-1",
		"RUNPOD_ENDPOINT_ID":         "simulated",
		"RUNPOD_AI_API_KEY":          q.cfg.APIKey,
		"RUNPOD_WEBHOOK_GET_JOB":     base + "/v2/simulated/job-take/$ID" + end,
		"RUNPOD_WEBHOOK_POST_OUTPUT": base + "/v2/simulated/job-done" + result,
		"RUNPOD_WEBHOOK_POST_STREAM": base + "/v2/simulated/job-stream" + result,
		"RUNPOD_WEBHOOK_PING":        base + "/v2/simulated/ping/$RUNPOD_POD_ID" + end,
	}
	if q.cfg.PingInterval > 0 {
		env["RUNPOD_PING_INTERVAL"] = fmt.Sprint(q.cfg.PingInterval.Milliseconds())
	}
	return env
}

var _ http.Handler = (*Queue)(nil)
