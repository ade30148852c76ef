package comfy

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Postings are the submissions that ComfyUI has not answered yet. They go on when
// nobody waits for their answer any more: only it tells Cancel whether ComfyUI has
// got the prompt, which it would else execute for nobody.
type postings struct {
	mu     sync.Mutex
	open   map[string]posting // by prompt id, as the caller knows it
	closed bool
}

type posting struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// posted is what came of a submission.
type posted struct {
	acceptance acceptance
	answer     *answer
	err        error
}

// acceptance is the answer to a submission.
type acceptance struct {
	PromptID   string         `json:"prompt_id"`
	NodeErrors wireNodeErrors `json:"node_errors"`
}

// post submits the prompt called id. The channel gets what came of it.
func (c *Client) post(id string, body []byte) <-chan posted {
	got := make(chan posted, 1)
	ctx, cancel := context.WithCancel(context.Background())
	if !c.postings.begin(id, cancel) {
		cancel()
		got <- posted{err: ErrClosed}
		return got
	}
	go func() {
		var p posted
		defer func() {
			c.postings.end(id)
			cancel()
			got <- p
		}()
		p.answer, p.err = c.exchange(ctx, request{
			method: http.MethodPost, path: "/prompt", body: body, limit: mediumAnswer, timeout: submitTimeout,
		})
		if p.err != nil || p.answer.status == http.StatusBadRequest {
			return
		}
		if p.err = p.answer.decode(&p.acceptance); p.err != nil {
			return
		}
		if other := p.acceptance.PromptID; other != "" && other != id {
			c.rename(id, other)
		}
	}()
	return got
}

// begin notes a submission, unless the client is closed.
func (p *postings) begin(id string, cancel context.CancelFunc) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if p.open == nil {
		p.open = make(map[string]posting)
	}
	p.open[id] = posting{cancel, make(chan struct{})}
	return true
}

func (p *postings) end(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.open[id].ended)
	delete(p.open, id)
}

// has tells whether ComfyUI may still be about to learn of the prompt.
func (p *postings) has(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, open := p.open[id]
	return open
}

// drop gives up all submissions, for good if closed, and returns when they have
// ended.
func (p *postings) drop(closed bool) {
	p.mu.Lock()
	p.closed = p.closed || closed
	all := slices.Collect(maps.Values(p.open))
	p.mu.Unlock()
	for _, one := range all {
		one.cancel()
	}
	for _, one := range all {
		<-one.ended
	}
}
