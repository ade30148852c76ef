package supervisor

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// queueBytes bounds the lines that wait for their reader. As many again
	// may be in its hands.
	queueBytes = 2 << 20
	// lineOverhead is what a line takes beside its text.
	lineOverhead = 100
	// lineCost is how much text a line has for the price of one.
	lineCost = 256
	// tellEvery is how often dropped lines are told.
	tellEvery = time.Second
)

// A lineQueue stands between the readers of the process's output, who never
// wait, and the function that takes the lines, which may.
type lineQueue struct {
	limit *rate.Limiter
	wake  chan struct{} // holds one value if there is something to take

	mu      sync.Mutex
	lines   []Line
	size    int // of lines, in bytes
	dropped int // not yet told
	closed  bool
}

func newLineQueue(perSecond int) *lineQueue {
	// The burst holds the longest line.
	burst := max(perSecond, 1+lineLimit/lineCost)
	return &lineQueue{
		limit: rate.NewLimiter(rate.Limit(perSecond), burst),
		wake:  make(chan struct{}, 1),
	}
}

// allow tells whether a line of so many bytes is within the rate.
func (q *lineQueue) allow(now time.Time, size int) bool {
	return q.limit.AllowN(now, 1+size/lineCost)
}

// push adds lines, and the number of those that were not allowed. If there is
// no room the oldest lines make it.
func (q *lineQueue) push(lines []Line, dropped int) {
	q.mu.Lock()
	q.dropped += dropped
	for _, l := range lines {
		q.lines = append(q.lines, l)
		q.size += lineOverhead + len(l.Text)
		for q.size > queueBytes {
			q.size -= lineOverhead + len(q.lines[0].Text)
			q.lines[0] = Line{}
			q.lines = q.lines[1:]
			q.dropped++
		}
	}
	q.mu.Unlock()
	q.signal()
}

// open lets a queue that was closed be used again.
func (q *lineQueue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = false
}

// close lets deliver return after the last line.
func (q *lineQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *lineQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// deliver gives the lines to f until the queue is closed and empty.
func (q *lineQueue) deliver(f func(Line)) {
	tell := time.NewTicker(tellEvery)
	defer tell.Stop()
	var lines []Line
	for {
		telling := false
		select {
		case <-q.wake:
		case <-tell.C:
			telling = true
		}
		clear(lines)
		var dropped int
		var closed bool
		lines, dropped, closed = q.take(lines[:0], telling)
		for _, l := range lines {
			f(l)
		}
		if dropped > 0 {
			f(Line{Stream: "stderr", Text: fmt.Sprintf("%d lines dropped", dropped), Time: time.Now(), Dropped: dropped})
		}
		if closed {
			return
		}
	}
}

// take empties the queue and gives it another slice to fill. The drops are
// taken if they are to be told, and at the end.
func (q *lineQueue) take(empty []Line, telling bool) (lines []Line, dropped int, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lines, q.lines, q.size = q.lines, empty, 0
	if telling || q.closed {
		dropped, q.dropped = q.dropped, 0
	}
	return lines, dropped, q.closed
}
