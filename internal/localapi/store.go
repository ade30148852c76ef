package localapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

var (
	errUnknown = errors.New("no job has this id")
	errGone    = errors.New("the job has ended and its result is no longer kept")
	errFull    = errors.New("the queue is full")
	errClosed  = errors.New("the server is shutting down")
	errInputs  = fmt.Errorf("%w: the inputs of its jobs leave no memory for another", errFull)
	errRetry   = errors.New("only a FAILED or TIMED_OUT job can be retried")
)

// A store owns the records of all jobs, and is the only one that changes their
// states. Its methods may be called from any goroutine.
type store struct {
	maxQueue int
	keep     Keep
	// inputs is the memory for inputs that are read, queued or running.
	inputs *semaphore.Weighted

	hooksDue chan struct{} // has a value when a webhook has become due

	journal *journal // nil if jobs are kept in memory alone

	mu      sync.Mutex
	closed  bool
	jobs    map[string]*record
	queue   []*record     // those IN_QUEUE, first in first out
	ended   []*record     // those in a final state, the longest ended first
	gone    forgotten     // ids that had a record once
	arrived chan struct{} // closed, and replaced, when a job joins the queue
	tally   tally
	order   uint64 // of the job that came last
	// memory and disk are what the ended jobs occupy.
	memory, disk int64
}

func newStore(maxQueue int, maxInputs int64, keep Keep) *store {
	return &store{
		maxQueue: maxQueue,
		keep:     keep,
		inputs:   semaphore.NewWeighted(maxInputs),
		jobs:     make(map[string]*record),
		arrived:  make(chan struct{}),
		hooksDue: make(chan struct{}, 1),
	}
}

// room returns nil when add would take another job.
func (s *store) room() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roomLocked()
}

func (s *store) roomLocked() error {
	switch {
	case s.closed:
		return errClosed
	case len(s.queue) >= s.maxQueue:
		return fmt.Errorf("%w: %d jobs are waiting", errFull, len(s.queue))
	}
	return nil
}

// add queues a job. The channel it returns is closed when the job has ended.
// Awaited tells that the client waits for that, see awaited. Errors are errFull
// and errClosed.
func (s *store) add(id string, q request, awaited bool) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order++
	r := &record{
		id: id, order: s.order, input: q.input, policy: q.policy, webhook: q.webhook,
		created: time.Now(), awaited: awaited,
	}
	if err := s.admitLocked(r); err != nil {
		return nil, err
	}
	s.jobs[id] = r
	s.enqueueLocked(r)
	return r.final, nil
}

// unawaited tells that the client of a job waits no more.
func (s *store) unawaited(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.jobs[id]; r != nil {
		r.awaited = false
	}
}

// admitLocked finds a place in the queue, and memory for the input.
func (s *store) admitLocked(r *record) error {
	if err := s.roomLocked(); err != nil {
		return err
	}
	if s.holdLocked(r); r.held < int64(len(r.input)) {
		return errInputs
	}
	return nil
}

func (s *store) enqueueLocked(r *record) {
	r.enqueue(time.Now())
	s.saveLocked(r, true)
	s.queue = append(s.queue, r)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// take hands out up to n queued jobs. When there are none, the channel is
// closed once there may be.
func (s *store) take(n int) ([]job.Job, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.expireLocked(now)
	n = min(n, len(s.queue))
	jobs := make([]job.Job, n)
	for i, r := range s.queue[:n] {
		jobs[i] = r.start(now)
		s.saveLocked(r, false)
	}
	s.queue = slices.Delete(s.queue, 0, n)
	s.tally.InProgress += n
	return jobs, s.arrived
}

// progress remembers how far a running job has come; for any other it does
// nothing.
func (s *store) progress(id string, p job.Progress, text json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.jobs[id]; r != nil && r.state == inProgress {
		r.addProgress(p, text)
	}
}

// running tells whether a result of the job would be accepted.
func (s *store) running(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.jobs[id]
	return r != nil && r.state == inProgress
}

// finish ends a running job. It returns false, and keeps nothing of o, when the
// job is not running: it was cancelled, or its end has been told already.
func (s *store) finish(id string, o outcome) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.jobs[id]
	if r == nil || r.state != inProgress {
		return false
	}
	s.endLocked(r, o)
	return true
}

// cancel ends a job that has not ended, and returns the job as it stands.
func (s *store) cancel(id string) (view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(id)
	if err != nil {
		return view{}, err
	}
	switch r.state {
	case inQueue:
		s.queue = slices.DeleteFunc(s.queue, func(q *record) bool { return q == r })
		s.endLocked(r, outcome{state: cancelled})
	case inProgress:
		s.endLocked(r, outcome{state: cancelled})
	}
	return r.view(), nil
}

// retry queues a failed job again under its id, and returns it as it stands.
func (s *store) retry(id string) (view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(id)
	if err != nil {
		return view{}, err
	}
	if !r.state.retryable() {
		return view{}, fmt.Errorf("%w, and this one is %s", errRetry, r.state)
	}
	if err := s.admitLocked(r); err != nil {
		return view{}, err
	}
	s.unkeepLocked(r)
	s.enqueueLocked(r)
	s.tally.Retried++
	return r.view(), nil
}

// purge cancels every queued job and returns how many there were.
func (s *store) purge() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.queue)
	s.endQueueLocked(outcome{state: cancelled})
	return n
}

// close takes no more jobs from then on, and ends every queued one with o, but
// for those that are kept for the next start and whose clients do not wait.
func (s *store) close(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.queue = slices.DeleteFunc(s.queue, func(r *record) bool {
		if s.journal != nil && !r.awaited {
			return false
		}
		s.endLocked(r, o)
		return true
	})
}

func (s *store) view(id string) (view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(id)
	if err != nil {
		return view{}, err
	}
	return r.view(), nil
}

// final returns the channel that is closed when the job has ended.
func (s *store) final(id string) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(id)
	if err != nil {
		return nil, err
	}
	return r.final, nil
}

// stream returns the progress since the last call, and the state of the job.
func (s *store) stream(id string) ([]json.RawMessage, state, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(id)
	if err != nil {
		return nil, "", err
	}
	chunks := r.chunks
	r.chunks = nil
	return chunks, r.state, nil
}

func (s *store) count() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tally
	t.InQueue = len(s.queue)
	return t
}

func (s *store) findLocked(id string) (*record, error) {
	switch r := s.jobs[id]; {
	case r != nil:
		return r, nil
	case s.gone.has(id):
		return nil, errGone
	default:
		return nil, errUnknown
	}
}
