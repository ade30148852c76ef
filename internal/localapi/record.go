package localapi

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// state is a job's state in the words of RunPod's API.
type state string

const (
	inQueue    state = "IN_QUEUE"
	inProgress state = "IN_PROGRESS"
	completed  state = "COMPLETED"
	failed     state = "FAILED"
	cancelled  state = "CANCELLED"
	timedOut   state = "TIMED_OUT"
)

// retryable tells whether a client may have the job queued again.
func (s state) retryable() bool { return s == failed || s == timedOut }

// final tells whether the job has ended.
func (s state) final() bool { return s != inQueue && s != inProgress }

// maxChunks is how much progress a record collects for a stream that nobody
// reads; the oldest is dropped.
const maxChunks = 100

// A record is all that is known of one job. The store's lock guards it.
type record struct {
	id    string
	order uint64          // greater than that of every job that came before
	input json.RawMessage // what came; of a job that has ended for good, shown(what came)

	held    int64 // how much of store.inputs it has
	awaited bool  // its client waits for the end, with /runsync

	policy policy

	webhook   string    // where the end is told, "" for nowhere
	hookTries int       // at telling it
	hookNext  time.Time // when the next is due; zero if none is
	hooking   bool      // one is under way

	state                        state
	created, queued, taken, over time.Time
	handed                       int // how often it was given to the worker
	lost                         int // how often comfyvisor came to a sudden end meanwhile
	attempts                     int // begun since it was sent, or retried
	base                         int // of these, those before it was handed out last
	outcome                      outcome

	progress *job.Progress     // the latest, nil before the first
	chunks   []json.RawMessage // progress that no stream has been given yet

	// memory and disk are the bytes that the job occupies after its end.
	memory, disk int64

	canceled chan struct{} // closed when the client gives the running job up
	final    chan struct{} // closed when the state is final
}

// enqueue makes r a job that waits for its first, or its next, run.
func (r *record) enqueue(now time.Time) {
	r.state = inQueue
	r.queued, r.taken, r.over = now, time.Time{}, time.Time{}
	r.outcome, r.attempts, r.base, r.lost = outcome{}, 0, 0, 0
	r.hookTries, r.hookNext, r.hooking = 0, time.Time{}, false
	r.progress, r.chunks = nil, nil
	r.final = make(chan struct{})
}

// start makes r a running job, and returns it as the worker gets it.
func (r *record) start(now time.Time) job.Job {
	r.state = inProgress
	r.taken = now
	r.canceled = make(chan struct{})
	j := job.Job{
		ID: r.id, Input: r.input, S3Config: json.RawMessage(r.policy.bucket),
		Timeout: r.policy.execution, Taken: now, Canceled: r.canceled, Handed: r.handed,
	}
	r.handed++
	return j
}

// addProgress takes p, of which text is the JSON.
func (r *record) addProgress(p job.Progress, text json.RawMessage) {
	r.progress = &p
	r.attempts = max(r.attempts, r.base+p.Attempt)
	if len(r.chunks) == maxChunks {
		r.chunks = slices.Delete(r.chunks, 0, 1)
	}
	r.chunks = append(r.chunks, text)
}

// outcome is how a job ended.
type outcome struct {
	state   state
	failure string // why it did not complete, for people
	cause   string // the same in a word
	// output is the document of a job that has ended; nil if it left none.
	output   *document
	attempts int
	timings  job.Timings
	files    []outputFile
	values   json.RawMessage // what nodes told beside files, nil if nothing or too much
	details  json.RawMessage // of the failure, nil if there are none
}

func (r *record) end(o outcome, now time.Time) {
	if r.state == inProgress && o.state == cancelled {
		close(r.canceled)
	}
	r.state, r.outcome, r.over = o.state, o, now
	r.attempts = max(r.attempts, r.base+o.attempts)
	r.progress = nil
	if !r.state.retryable() {
		r.input, r.policy.bucket = shown(r.input), ""
	}
	if r.webhook != "" {
		r.hookNext = now
	}
	r.weigh()
	close(r.final)
}

// weigh tells what an ended job occupies.
func (r *record) weigh() {
	o := &r.outcome
	r.memory, r.disk = int64(len(r.input)+len(o.values)+len(o.details)), 0
	for _, c := range r.chunks {
		r.memory += int64(len(c))
	}
	if o.output.onDisk() {
		r.disk = o.output.size
	} else if o.output != nil {
		r.memory += o.output.size
	}
}

// delay is how long the job has waited in the queue, run for how long it has
// been with the worker. The job has been taken, or has ended.
func (r *record) delay() time.Duration     { return r.taken.Sub(r.queued) }
func (r *record) execution() time.Duration { return r.over.Sub(r.taken) }

// view returns what clients of RunPod's routes may know of the job now.
func (r *record) view() view {
	v := view{id: r.id, state: r.state, failure: r.outcome.failure, output: r.outcome.output, ran: !r.taken.IsZero()}
	if r.progress != nil {
		if text, err := json.Marshal(r.progress); err == nil {
			v.output = &document{text: text, size: int64(len(text))}
		}
	}
	if v.ran {
		v.delay = r.delay()
	}
	if v.ran && !r.over.IsZero() {
		v.execution = r.execution()
	}
	return v
}

// A view is a copy of a record for an answer.
type view struct {
	id      string
	state   state
	failure string
	output  *document // the result; while the job runs, its progress
	// ran tells that a worker has taken the job.
	ran              bool
	delay, execution time.Duration
}
