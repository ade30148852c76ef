package runpodtest

import (
	"slices"
	"time"
)

// A span is a stretch of time.
type span struct{ from, to time.Time }

func (s span) has(at time.Time) bool { return !at.Before(s.from) && !at.After(s.to) }

// Doubt tells that the line to the workers was spoilt for a while, by no fault of the
// queue's own: whatever was answered then may be lost. Stops that were told then are
// told again.
func (q *Queue) Doubt(from, to time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	doubt := span{from, to}
	q.doubts = append(q.doubts, doubt)
	for _, j := range q.order {
		if doubt.has(j.stopTold) {
			j.stopping = true
		}
	}
	q.wake()
}

// Doubtful tells whether an answer of that time may be lost.
func (q *Queue) Doubtful(at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.doubtful(at)
}

func (q *Queue) doubtful(at time.Time) bool {
	return slices.ContainsFunc(q.doubts, func(s span) bool { return s.has(at) })
}
