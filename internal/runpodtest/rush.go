package runpodtest

import (
	"slices"
	"time"
)

// rushLimit is how many calls of a kind, within a second, a worker may make while
// they fail.
const rushLimit = 20

// A rush holds when the last calls of one kind and one worker failed.
type rush []time.Time

// rushing names a kind of call and a worker.
type rushing struct {
	call   Call
	worker string
}

// add notes a call that fails and tells whether there have been too many.
func (r *rush) add(at time.Time) bool {
	*r = slices.DeleteFunc(append(*r, at), func(t time.Time) bool { return at.Sub(t) >= time.Second })
	return len(*r) == rushLimit+1
}

// failing takes down that a call fails. Each job has its own pace with its result and
// its progress, so those of one job count together.
func (q *Queue) failing(r request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := rushing{r.call, r.worker + "/" + r.job}
	if q.rushes[key] == nil {
		q.rushes[key] = new(rush)
	}
	if q.rushes[key].add(time.Now()) {
		q.violation("worker %s: calls %s more than %d times a second while that fails", r.worker, r.call, rushLimit)
	}
}
