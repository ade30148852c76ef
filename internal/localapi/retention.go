package localapi

import (
	"fmt"
	"slices"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// endLocked moves a job to a final state. The caller has taken it out of the
// queue.
func (s *store) endLocked(r *record, o outcome) {
	if r.state == inProgress {
		s.tally.InProgress--
	}
	switch o.state {
	case completed:
		s.tally.Completed++
	case failed, timedOut:
		s.tally.Failed++
	}
	s.inputs.Release(r.held)
	r.held = 0
	r.end(o, time.Now())
	s.saveLocked(r, !r.state.retryable())
	if r.webhook != "" {
		select {
		case s.hooksDue <- struct{}{}:
		default:
		}
	}
	s.ended = append(s.ended, r)
	s.memory += r.memory
	s.disk += r.disk
}

// unkeepLocked is the way back from endLocked, for a job that is retried or
// forgotten.
func (s *store) unkeepLocked(r *record) {
	s.ended = slices.DeleteFunc(s.ended, func(e *record) bool { return e == r })
	s.memory -= r.memory
	s.disk -= r.disk
}

func (s *store) endQueueLocked(o outcome) {
	for _, r := range s.queue {
		s.endLocked(r, o)
	}
	s.queue = nil
}

// expireLocked ends the queued jobs whose ttl is over.
func (s *store) expireLocked(now time.Time) {
	s.queue = slices.DeleteFunc(s.queue, func(r *record) bool {
		if now.Sub(r.queued) < r.policy.ttl {
			return false
		}
		s.endLocked(r, ended(timedOut, &job.Failure{
			Kind: "internal", Cause: "expired", Retryable: true,
			Message: fmt.Sprintf("the job waited in the queue for its whole ttl of %v; send it again, with a longer policy.ttl", r.policy.ttl),
		}, job.Timings{}))
		return true
	})
}

// sweep expires queued jobs, and forgets ended ones beyond what Keep allows.
// The job that ended last stays until it is too old, however large it is.
func (s *store) sweep() {
	for _, d := range s.sweepRecords(time.Now()) {
		d.remove()
	}
}

// sweepRecords returns the documents that nobody can ask for any more. Their
// files are removed without the lock, since a disk may be slow.
func (s *store) sweepRecords(now time.Time) []*document {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(now)
	var documents []*document
	for len(s.ended) > 0 && (s.overLocked() || now.Sub(s.ended[0].over) >= s.keep.Age) {
		r := s.ended[0]
		s.unkeepLocked(r)
		delete(s.jobs, r.id)
		s.journal.forget(r.id)
		s.gone.add(r.id)
		documents = append(documents, r.outcome.output)
	}
	return documents
}

func (s *store) overLocked() bool {
	return len(s.ended) > 1 &&
		(len(s.ended) > s.keep.Jobs || s.memory > s.keep.Memory || s.disk > s.keep.Disk)
}

// empty forgets every ended job and removes what it left on the disk, unless
// that is kept for the next start.
func (s *store) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal != nil {
		return
	}
	for _, r := range s.ended {
		delete(s.jobs, r.id)
		r.outcome.output.remove()
	}
	s.ended, s.memory, s.disk = nil, 0, 0
}

// maxForgotten is how many ids are told from ids that never were.
const maxForgotten = 10_000

// forgotten remembers the ids that were forgotten last. Its zero value is empty.
type forgotten struct {
	ids   map[string]struct{}
	order []string // oldest first
}

func (f *forgotten) add(id string) {
	if f.ids == nil {
		f.ids = make(map[string]struct{})
	}
	if len(f.order) == maxForgotten {
		delete(f.ids, f.order[0])
		f.order = slices.Delete(f.order, 0, 1)
	}
	f.ids[id] = struct{}{}
	f.order = append(f.order, id)
}

func (f *forgotten) has(id string) bool {
	_, ok := f.ids[id]
	return ok
}
