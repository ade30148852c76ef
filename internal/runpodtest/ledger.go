package runpodtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Job is all that the queue knows of one job.
type Job struct {
	ID        string
	Submitted time.Time
	Handouts  []Handout
	Progress  []time.Time
	Stream    []Chunk
	Posts     []Post
	Outcome   *Outcome // nil while it has not ended

	entry    entry
	lease    time.Time // when it is handed out again
	stopping bool      // the stop channel still has to name it
	stopTold time.Time // when it named it last
	lost     int       // answers to its results that never arrived
}

// A Handout is one time that a job was given to a worker.
type Handout struct {
	At     time.Time
	Worker string
	Batch  bool
	// Torn tells that the answer did not arrive, as far as the queue can know.
	Torn bool
}

// A Post is one result that arrived.
type Post struct {
	At      time.Time
	Worker  string
	Verdict string // accepted, duplicate or rejected
	Size    int64
	SHA256  string
}

// A Chunk is a part of a job's output that came before its result.
type Chunk struct {
	At     time.Time
	Output json.RawMessage
}

// A Take is one poll for jobs.
type Take struct {
	At     time.Time
	Worker string
	Status int // of its answer, 0 if it got none
}

// A Ping is one heartbeat.
type Ping struct {
	At      time.Time
	Worker  string
	Jobs    []string
	Version string
	// Unhealthy and Reason are set if the worker reports itself as unfit.
	Unhealthy, Reason string
}

// A Ledger is the truth about a queue at one moment.
type Ledger struct {
	Jobs    []Job
	Takes   []Take
	Pings   []Ping
	Faults  map[Call]int // that took effect
	Waiting int          // jobs to be handed out
}

// Ledger returns a copy of the truth.
func (q *Queue) Ledger() Ledger {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ledger()
}

func (q *Queue) ledger() Ledger {
	l := Ledger{
		Takes: slices.Clone(q.takes), Pings: slices.Clone(q.pings),
		Faults: maps.Clone(q.effects), Waiting: len(q.waiting),
	}
	for _, j := range q.order {
		l.Jobs = append(l.Jobs, j.clone())
	}
	return l
}

// Job returns a copy of what is known of one job, the zero Job if nothing is.
func (q *Queue) Job(id string) Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j := q.jobs[id]; j != nil {
		return j.clone()
	}
	return Job{}
}

func (j *Job) clone() Job {
	c := *j
	c.Handouts, c.Progress, c.Posts = slices.Clone(j.Handouts), slices.Clone(j.Progress), slices.Clone(j.Posts)
	c.Stream = slices.Clone(j.Stream)
	if j.Outcome != nil {
		outcome := *j.Outcome
		c.Outcome = &outcome
	}
	return c
}

// Check returns every violation so far, nil if there is none. It is meant for
// the moment when the workers have nothing more to do: a job that is still with
// one counts as lost.
func (q *Queue) Check() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var faults []error
	for _, f := range q.faulty {
		faults = append(faults, errors.New(f))
	}
	for _, j := range q.order {
		faults = append(faults, j.check(q.doubtful)...)
	}
	return errors.Join(faults...)
}

// check returns what is wrong with a job. Doubtful tells whether the answer to a call
// of that time may be lost.
func (j *Job) check(doubtful func(time.Time) bool) (faults []error) {
	arrived := 0
	for _, h := range j.Handouts {
		if !h.Torn {
			arrived++
		}
	}
	if arrived > 0 && j.Outcome == nil {
		faults = append(faults, fmt.Errorf("job %s: lost: handed out %d times and never ended", j.ID, arrived))
	}
	counted, first, lost := 0, "", j.lost
	for _, p := range j.Posts {
		if p.Verdict == rejected {
			continue
		}
		if doubtful(p.At) {
			lost++
		}
		counted++
		if first == "" {
			first = p.SHA256
		} else if p.SHA256 != first && len(j.Handouts) == 1 {
			faults = append(faults, fmt.Errorf("job %s: its results differ", j.ID))
		}
	}
	if excused := 1 + lost + max(0, len(j.Handouts)-1); counted > excused {
		faults = append(faults, fmt.Errorf("job %s: done %d times, %d can be excused", j.ID, counted, excused))
	}
	return faults
}

// violation takes down what is wrong at the moment when it is seen.
func (q *Queue) violation(format string, args ...any) {
	q.faulty = append(q.faulty, fmt.Sprintf(format, args...))
}

// Waiting is how many hand-outs no worker has come for.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}
