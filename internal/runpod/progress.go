package runpod

import (
	"context"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// Progress takes down how far a job has come. Run posts the latest of what is
// taken down, at most once per ProgressInterval and job, and nothing after the
// job's result. Progress with a preview goes to the stream, in the same way.
func (c *Client) Progress(id string, p job.Progress) {
	switch {
	case p.Preview == nil:
		c.jobs.offer(id, progress, p)
	case c.stream.path != "":
		c.jobs.offer(id, preview, p)
	}
}

// report posts progress, one at a time, until ctx ends.
func (c *Client) report(ctx context.Context) {
	for ctx.Err() == nil {
		u, wait := c.jobs.due(time.Now())
		if u != nil {
			c.postProgress(ctx, u)
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-c.jobs.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

func (c *Client) postProgress(ctx context.Context, u *update) {
	defer c.jobs.posted(u) // the result waits for it
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ProgressTimeout)
	defer cancel()
	go func() {
		select {
		case <-c.cfg.Hurry: // there is time for the result alone
			cancel()
		case <-ctx.Done():
		}
	}()
	fields, url := map[string]any{"status": "IN_PROGRESS", "output": u.progress}, c.resultURL(u.id)
	if u.kind == preview {
		fields, url = map[string]any{"output": u.progress}, c.streamURL(u.id)
	}
	body, err := payload.Object(fields, "", nil)
	if err == nil {
		err = c.post(ctx, url, u.id, body)
	}
	if err != nil {
		c.log.Debug("progress is lost", zap.String("job", u.id), zap.Error(err))
	}
}

// A kind is what progress is about. Each has a pace of its own.
type kind int

const (
	progress kind = iota
	preview
	kinds
)

// An outbox holds what is to be posted of one kind for one job.
type outbox struct {
	latest *job.Progress // nil if there is nothing
	next   time.Time     // when the next may be posted
}

// offer replaces the progress of a kind that is to be posted for a job in
// progress.
func (r *registry) offer(id string, k kind, p job.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.active[id]; j != nil && !j.closing {
		j.outbox[k].latest = &p
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// An update is progress of a job that is being posted.
type update struct {
	id       string
	kind     kind
	progress *job.Progress
	over     chan struct{} // closed when the post is over
}

// due returns an update that may be posted at this moment, previews last, or how
// long to wait for the next. The caller must call posted afterwards.
func (r *registry) due(now time.Time) (u *update, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = math.MaxInt64
	for k := range kinds {
		for id, j := range r.active {
			box := &j.outbox[k]
			if box.latest == nil {
				continue
			}
			if left := box.next.Sub(now); left > 0 {
				wait = min(wait, left)
				continue
			}
			u := &update{id: id, kind: k, progress: box.latest, over: make(chan struct{})}
			*box = outbox{next: now.Add(r.interval)}
			j.posting = u
			return u, 0
		}
	}
	return nil, wait
}

// posted ends what due began.
func (r *registry) posted(u *update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(u.over)
	if j := r.active[u.id]; j != nil && j.posting == u {
		j.posting = nil
	}
}

// finish ends a job's progress. The result may be sent when the channel it
// returns is closed: then no progress is on its way any more.
func (r *registry) finish(id string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.active[id]; j != nil {
		j.closing, j.outbox = true, [kinds]outbox{}
		if j.posting != nil {
			return j.posting.over
		}
	}
	over := make(chan struct{})
	close(over)
	return over
}
