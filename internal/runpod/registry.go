package runpod

import (
	"slices"
	"sync"
	"time"
)

// A registry knows every job from its hand-out to its end, and for a while
// after it.
type registry struct {
	mu       sync.Mutex
	active   map[string]*activeJob
	memory   *memory
	polling  bool                // jobs may be on their way
	early    map[string]struct{} // canceled jobs that may be among them
	interval time.Duration       // between two posts of a kind for one job

	// wake has a token in it when there may be progress to post.
	wake chan struct{}
}

// activeJob is a job between its hand-out and its end.
type activeJob struct {
	canceled chan struct{}
	stopped  bool // canceled is closed

	outbox  [kinds]outbox
	posting *update // under way, nil if none is
	closing bool    // the result is about to be sent, so progress is over
}

func newRegistry(cfg Config) *registry {
	return &registry{
		active:   make(map[string]*activeJob),
		memory:   newMemory(cfg),
		early:    make(map[string]struct{}),
		interval: cfg.ProgressInterval,
		wake:     make(chan struct{}, 1),
	}
}

// An admission is what becomes of a job that was handed out.
type admission int

const (
	fresh    admission = iota // it is to be run
	attached                  // it is in progress, and gets that result
	known                     // it has ended, and its result is at hand
)

// admit registers a hand-out. The channel is closed when the job is canceled;
// outcome is the result of a job that is known. Either way the job is in
// progress from here on, unless it already was.
func (r *registry) admit(id string, now time.Time) (a admission, canceled <-chan struct{}, outcome []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[id] != nil {
		return attached, nil, nil
	}
	j := &activeJob{canceled: make(chan struct{})}
	r.active[id] = j
	if _, is := r.early[id]; is {
		j.stop()
	}
	if outcome := r.memory.find(id, now); outcome != nil {
		return known, j.canceled, outcome
	}
	return fresh, j.canceled, nil
}

// end takes a job out of progress.
func (r *registry) end(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, id)
}

// poll notes that a poll begins, and with it ends that its jobs are admitted. A stop
// that comes in between may be of one of them: job and stop come over different
// connections, and the job may need as long as a poll is waited for.
func (r *registry) poll() (end func()) {
	set := func(polling bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.polling = polling
		clear(r.early)
	}
	set(true)
	return func() { set(false) }
}

// cancel tells the one who runs the job that nobody wants it any more, or will,
// if the job is still on its way. It reports whether that was news to one at hand.
func (r *registry) cancel(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.active[id]
	if j == nil {
		if r.polling {
			r.early[id] = struct{}{}
		}
		return false
	}
	return j.stop()
}

// stop closes canceled, and reports whether that was news.
func (j *activeJob) stop() bool {
	if j.stopped {
		return false
	}
	j.stopped = true
	close(j.canceled)
	return true
}

// ids returns the jobs in progress, in order.
func (r *registry) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]string, 0, len(r.active))
	for id := range r.active {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
