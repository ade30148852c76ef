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
	id     string
	input  json.RawMessage // nil once the job has ended and cannot be retried
	policy policy

	state               state
	queued, taken, over time.Time
	failure             string    // why it did not complete, for people
	output              *document // of a job that has ended; nil if it left none

	progress json.RawMessage   // the latest, nil before the first
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
	r.failure, r.output = "", nil
	r.progress, r.chunks = nil, nil
	r.final = make(chan struct{})
}

// start makes r a running job, and returns it as the worker gets it.
func (r *record) start(now time.Time) job.Job {
	r.state = inProgress
	r.taken = now
	r.canceled = make(chan struct{})
	return job.Job{ID: r.id, Input: r.input, Timeout: r.policy.execution, Taken: now, Canceled: r.canceled}
}

func (r *record) addProgress(p json.RawMessage) {
	r.progress = p
	if len(r.chunks) == maxChunks {
		r.chunks = slices.Delete(r.chunks, 0, 1)
	}
	r.chunks = append(r.chunks, p)
}

// outcome is how a job ended.
type outcome struct {
	state   state
	failure string
	output  *document
}

func (r *record) end(o outcome, now time.Time) {
	if r.state == inProgress && o.state == cancelled {
		close(r.canceled)
	}
	r.state, r.failure, r.output, r.over = o.state, o.failure, o.output, now
	r.progress = nil
	if !r.state.retryable() {
		r.input = nil
	}
	r.memory, r.disk = int64(len(r.input)), 0
	for _, c := range r.chunks {
		r.memory += int64(len(c))
	}
	if r.output.onDisk() {
		r.disk = r.output.size
	} else if r.output != nil {
		r.memory += r.output.size
	}
	close(r.final)
}

// view returns what clients may know of the job now.
func (r *record) view() view {
	v := view{id: r.id, state: r.state, failure: r.failure, output: r.output, ran: !r.taken.IsZero()}
	if r.progress != nil {
		v.output = &document{text: r.progress, size: int64(len(r.progress))}
	}
	if v.ran {
		v.delay = r.taken.Sub(r.queued)
	}
	if v.ran && !r.over.IsZero() {
		v.execution = r.over.Sub(r.taken)
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
