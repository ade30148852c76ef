package localapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// maxLost is how often a job may be running when comfyvisor itself comes to a
// sudden end. One that is there each time may be what ends it.
const maxLost = 3

// adopt takes over the jobs that an earlier process has kept, and returns how
// many of them will run, and the files of their results. Jobs that were running
// run again, before those that were queued.
func (s *store) adopt(kept map[string]stored, dir string) (waiting int, files map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	files = make(map[string]bool)
	for id, k := range kept {
		r := k.record(id, dir)
		s.jobs[id] = r
		s.order = max(s.order, r.order)
		switch {
		case r.state.final():
			s.adoptEndedLocked(r)
		case r.state == inProgress:
			s.adoptRunningLocked(r, now)
		default:
			s.adoptQueuedLocked(r)
		}
		if r.outcome.output.onDisk() {
			files[r.outcome.output.path] = true
		}
	}
	slices.SortFunc(s.queue, func(a, b *record) int {
		return cmp.Or(a.queued.Compare(b.queued), cmp.Compare(a.order, b.order))
	})
	slices.SortFunc(s.ended, func(a, b *record) int { return a.over.Compare(b.over) })
	return len(s.queue), files
}

func (s *store) adoptEndedLocked(r *record) {
	if !r.outcome.output.whole() {
		o := ended(failed, &job.Failure{
			Kind: "delivery", Cause: "output_fetch_failed", Retryable: true, Attempts: r.attempts,
			Message: "the result was lost with the file that it was kept in; send the job again",
		}, job.Timings{})
		r.state, r.outcome = o.state, o
		s.saveLocked(r, false)
	}
	if soon := time.Now().Add(hookPause); r.hookNext.After(soon) {
		r.hookNext = soon // the clock was put back
	}
	r.weigh()
	close(r.final)
	s.ended = append(s.ended, r)
	s.memory += r.memory
	s.disk += r.disk
}

func (s *store) adoptRunningLocked(r *record, now time.Time) {
	r.lost++
	s.holdLocked(r)
	if r.lost < maxLost {
		s.againLocked(r)
		return
	}
	s.tally.InProgress++ // which its end takes back
	s.endLocked(r, ended(failed, &job.Failure{
		Kind: "internal", Cause: "pod_lost", Attempts: r.attempts,
		Message: fmt.Sprintf("comfyvisor itself came to a sudden end, %d times, while this job ran; "+
			"look at the workflow's custom nodes, and at the memory of the pod", r.lost),
	}, job.Timings{}))
}

func (s *store) adoptQueuedLocked(r *record) {
	s.holdLocked(r)
	s.queue = append(s.queue, r)
}

// holdLocked takes memory for the input of a job that is there already.
func (s *store) holdLocked(r *record) {
	if s.inputs.TryAcquire(int64(len(r.input))) {
		r.held = int64(len(r.input))
	}
}

// againLocked queues a job that was running, to be run again from the start. It
// keeps its place in the queue, and its attempts are counted on.
func (s *store) againLocked(r *record) {
	r.state, r.taken, r.base = inQueue, time.Time{}, r.attempts
	r.progress = nil
	s.queue = append([]*record{r}, s.queue...)
	s.saveLocked(r, false)
}

// putBack takes back a running job that the worker gave up because everything
// is being stopped. It is false when the job cannot be kept for the next start,
// or somebody waits for the answer now.
func (s *store) putBack(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.jobs[id]
	if s.journal == nil || r == nil || r.state != inProgress || r.awaited {
		return false
	}
	s.tally.InProgress--
	s.againLocked(r)
	return true
}

// saveLocked has the journal keep what the job is by now. With input it keeps
// that, too.
func (s *store) saveLocked(r *record, input bool) {
	if s.journal == nil {
		return
	}
	text, err := json.Marshal(r.stored())
	if err != nil { // it is made of what can be written
		return
	}
	var kept json.RawMessage
	if input {
		kept = r.kept()
	}
	s.journal.put(r.id, text, kept)
}

// everything is what the journal has to have when nothing of it is left.
func (s *store) everything() map[string]change {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]change, len(s.jobs))
	for id, r := range s.jobs {
		if text, err := json.Marshal(r.stored()); err == nil {
			all[id] = change{text, r.kept()}
		}
	}
	return all
}
