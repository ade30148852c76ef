package worker

import (
	"context"
	"sync"
)

// namesakes are the lives of jobs that were handed out more than once. They
// share neither time nor names: the new life waits for the end of the old,
// which still removes its files, and goes on counting its attempts, since a
// prompt with names that were used would be answered from ComfyUI's cache, with
// files that are gone.
type namesakes struct {
	mu   sync.Mutex
	last map[string]chan struct{} // closed at the end of the job's last life
	// begun is how many attempts a job has had. Jobs are forgotten in the order
	// of their first attempt.
	begun map[string]int
	order []string
}

// rememberedJobs is how many jobs' attempts are counted.
const rememberedJobs = 10_000

// join adds a life. Before is closed when the one before it has ended, and nil
// if there is none. The caller must call leave at the end of the life.
func (n *namesakes) join(id string) (before <-chan struct{}, leave func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil {
		n.last, n.begun = make(map[string]chan struct{}), make(map[string]int)
	}
	if last, there := n.last[id]; there {
		before = last
	}
	ended := make(chan struct{})
	n.last[id] = ended
	return before, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		close(ended)
		if n.last[id] == ended {
			delete(n.last, id)
		}
	}
}

// count returns the number of the next attempt at a job, from 1 on. Those that an
// earlier process may have made, which was handed the job as often as that, are
// counted, too.
func (n *namesakes) count(id string, handed int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.begun[id] == 0 {
		n.order = append(n.order, id)
		if len(n.order) > rememberedJobs {
			delete(n.begun, n.order[0])
			n.order = n.order[1:]
		}
	}
	n.begun[id] = max(n.begun[id], handed*attempts) + 1
	return n.begun[id]
}

// waitForNamesake returns when no other life of the same job is at hand.
func (l *life) waitForNamesake() error {
	if l.before == nil {
		return nil
	}
	select {
	case <-l.before:
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}
