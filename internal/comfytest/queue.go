package comfytest

import (
	"cmp"
	"context"
	"slices"
)

// A prompt is one item of the queue.
type prompt struct {
	number    float64
	whole     bool // the number came from the counter and is shown as an integer
	id        string
	workflow  *object
	extra     *object // what /queue and /history show
	keys      *object // the API keys, which the newer generation keeps out of extra
	outputs   []string
	execution *Execution
}

// tuple is the item as /queue and history list it.
func (p *prompt) tuple() []any {
	return []any{p.shownNumber(), p.id, p.workflow, p.extra, list(p.outputs)}
}

// withoutKeys is the extra data that may be kept.
func (p *prompt) withoutKeys() *object {
	extra := p.extra.clone()
	for _, name := range p.keys.keys {
		extra.del(name)
	}
	return extra
}

func (p *prompt) shownNumber() any {
	if p.whole {
		return int(p.number)
	}
	return p.number
}

// A promptQueue holds what waits and what runs. Its fields belong to the
// holder of Comfy.mu; the channel may be used by anybody.
type promptQueue struct {
	counter int
	pending []*prompt
	running *prompt
	wake    chan struct{}
}

func newPromptQueue() promptQueue { return promptQueue{wake: make(chan struct{}, 1)} }

// poke makes the worker look again.
func (q *promptQueue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *promptQueue) remaining() int {
	n := len(q.pending)
	if q.running != nil {
		n++
	}
	return n
}

// put adds p in the order of numbers, and leaves it to the caller to poke the
// worker. It returns false when Python's heap would have failed to compare p
// with an item of the same number and id; p is queued all the same.
func (q *promptQueue) put(p *prompt) bool {
	comparable := !slices.ContainsFunc(q.pending, func(other *prompt) bool {
		return other.number == p.number && other.id == p.id
	})
	q.pending = append(q.pending, p)
	slices.SortStableFunc(q.pending, func(a, b *prompt) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.id, b.id))
	})
	return comparable
}

// remove takes the pending items that match out of the queue.
func (q *promptQueue) remove(match func(*prompt) bool) bool {
	before := len(q.pending)
	q.pending = slices.DeleteFunc(q.pending, match)
	return len(q.pending) < before
}

// work is the prompt worker thread. It ends with the process, or before it
// as a zombie, with the prompt at hand running for ever.
func (c *Comfy) work() {
	cache := newResultCache(c.cfg)
	for {
		p := c.nextPrompt(cache)
		if p == nil {
			return
		}
		c.postStatus()
		if !c.execute(p, cache) {
			return
		}
	}
}

// nextPrompt waits for a prompt and makes it the running one. It returns nil
// when the worker has to end.
func (c *Comfy) nextPrompt(cache *resultCache) *prompt {
	for {
		if c.ctx.Err() != nil || c.zombie.Load() {
			return nil
		}
		c.mu.Lock()
		if c.freeing {
			c.freeing = false
			cache.clear()
		}
		if len(c.queue.pending) > 0 {
			p := c.queue.pending[0]
			c.queue.pending = c.queue.pending[1:]
			c.queue.running = p
			c.mu.Unlock()
			return p
		}
		c.mu.Unlock()
		select {
		case <-c.queue.wake:
		case <-c.ctx.Done():
		}
	}
}

// postStatus tells everybody the length of the queue.
func (c *Comfy) postStatus() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hub.post(outgoing{event: "status", data: c.statusData()})
}

// statusData needs c.mu.
func (c *Comfy) statusData() *object {
	return obj("status", c.execInfo())
}

func (c *Comfy) execInfo() *object {
	return obj("exec_info", obj("queue_remaining", c.queue.remaining()))
}

// loseRunning notes in the ledger that the running prompt died.
func (c *Comfy) loseRunning() {
	c.mu.Lock()
	p := c.queue.running
	c.mu.Unlock()
	if p != nil {
		c.ledger.note(func() { p.execution.end(Lost) })
	}
}

// hang holds a request until its client or the process gives up.
func (c *Comfy) hang(r interface{ Context() context.Context }) {
	select {
	case <-r.Context().Done():
	case <-c.ctx.Done():
	}
}
