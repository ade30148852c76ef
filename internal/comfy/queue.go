package comfy

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
)

// Where a prompt is, in the order of its life.
type place int

const (
	unknown place = iota
	pending
	running
	ended
)

// whereabouts is where ComfyUI has a prompt.
type whereabouts struct {
	place place
	ahead int           // prompts before it, while it is pending; else -1
	entry *historyEntry // once it has ended
}

// find looks for a prompt: in the history, then among the jobs of newer servers
// or in the queue, and in the history again, where it may have gone meanwhile.
func (c *Client) find(ctx context.Context, id string) (whereabouts, error) {
	at := whereabouts{ahead: -1}
	entry, err := c.history(ctx, id)
	if err != nil {
		return at, err
	}
	if entry == nil {
		at, err = c.findQueued(ctx, id)
		if err != nil || at.place != unknown {
			return at, err
		}
		if entry, err = c.history(ctx, id); err != nil {
			return at, err
		}
	}
	if entry != nil {
		at.place, at.entry = ended, entry
	}
	return at, nil
}

// findQueued tells whether a prompt is pending or running. A prompt that has
// ended is unknown here.
func (c *Client) findQueued(ctx context.Context, id string) (whereabouts, error) {
	at := whereabouts{ahead: -1}
	if !c.lacksJobs.Load() {
		state, answered, err := c.jobState(ctx, id)
		if err != nil {
			return at, err
		}
		if answered && state != pending {
			at.place = state
			return at, nil
		}
	}
	q, err := c.queue(ctx)
	if err != nil {
		return at, err
	}
	at.place, at.ahead = q.find(id)
	return at, nil
}

// jobState asks GET /api/jobs/{id}, which ComfyUI has since 0.6.0 and which
// does not carry whole workflows as the queue does. It is not answered by older
// servers, nor (with 500) while any prompt with odd metadata is in the history.
func (c *Client) jobState(ctx context.Context, id string) (state place, answered bool, err error) {
	a, err := c.get(ctx, "/api/jobs/"+url.PathEscape(id), largeAnswer)
	if err != nil {
		return unknown, false, err
	}
	if a.status == http.StatusNotFound {
		known := isObject(bytes.TrimSpace(a.body)) // plain text: no such route
		c.lacksJobs.Store(!known)
		return unknown, known, nil
	}
	var job struct {
		Status string `json:"status"`
	}
	if a.decode(&job) != nil {
		return unknown, false, nil
	}
	switch job.Status {
	case "pending":
		return pending, true, nil
	case "in_progress":
		return running, true, nil
	}
	return unknown, true, nil
}

// A queue is GET /queue without the workflows.
type queue struct {
	Running []queueItem `json:"queue_running"`
	Pending []queueItem `json:"queue_pending"`
}

// A queueItem is a list whose first two values are these. Lower numbers run
// first; the list of the pending is not in order.
type queueItem struct {
	number float64
	id     string
}

// UnmarshalJSON reads the first two values and not the rest of the list.
func (q *queueItem) UnmarshalJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return nil
	}
	var id json.RawMessage
	if d.Decode(&q.number) == nil && d.Decode(&id) == nil {
		q.id = text(id)
	}
	return nil
}

func (c *Client) queue(ctx context.Context) (*queue, error) {
	a, err := c.get(ctx, "/queue", largeAnswer)
	if err != nil {
		return nil, err
	}
	q := new(queue)
	return q, a.decode(q)
}

// find tells where the prompt id is, and how many are before it if it waits.
func (q *queue) find(id string) (place, int) {
	same := func(item queueItem) bool { return item.id == id }
	if slices.ContainsFunc(q.Running, same) {
		return running, -1
	}
	i := slices.IndexFunc(q.Pending, same)
	if i < 0 {
		return unknown, -1
	}
	ahead := len(q.Running)
	for _, item := range q.Pending {
		if item.number < q.Pending[i].number {
			ahead++
		}
	}
	return pending, ahead
}

// Position tells how many prompts are before the one called id in ComfyUI's
// queue, the running one included: 0 means that it runs, or is about to. It is
// not known when the queue does not hold the prompt.
func (c *Client) Position(ctx context.Context, id string) (ahead int, known bool, err error) {
	q, err := c.queue(ctx)
	if err != nil {
		return 0, false, err
	}
	where, ahead := q.find(c.wireID(id))
	return max(ahead, 0), where != unknown, nil
}

// Stands tells whether prompts wait in ComfyUI's queue while none runs. That
// lasts for milliseconds, unless the thread that executes prompts is gone.
func (c *Client) Stands(ctx context.Context) (bool, error) {
	q, err := c.queue(ctx)
	if err != nil {
		return false, err
	}
	return len(q.Running) == 0 && len(q.Pending) > 0, nil
}
