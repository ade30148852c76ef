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
// job's result.
func (c *Client) Progress(id string, p job.Progress) { c.jobs.offer(id, p) }

// report posts progress, one at a time, until ctx ends.
func (c *Client) report(ctx context.Context) {
	for ctx.Err() == nil {
		u, wait := c.jobs.due(time.Now())
		if u != nil {
			c.postProgress(ctx, u)
			c.jobs.posted(u)
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
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ProgressTimeout)
	defer cancel()
	body, err := payload.Object(map[string]any{"status": "IN_PROGRESS", "output": u.progress}, "", nil)
	if err == nil {
		err = c.post(ctx, u.id, body)
	}
	if err != nil {
		c.log.Debug("progress is lost", zap.String("job", u.id), zap.Error(err))
	}
}

// offer replaces the progress that is to be posted for a job in progress.
func (r *registry) offer(id string, p job.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j := r.active[id]; j != nil && !j.closing {
		j.latest = &p
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// An update is progress of a job that is being posted.
type update struct {
	id       string
	progress *job.Progress
	over     chan struct{} // closed when the post is over
}

// due returns an update that may be posted at this moment, or how long to wait
// for the next. The caller must call posted afterwards.
func (r *registry) due(now time.Time) (u *update, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = math.MaxInt64
	for id, j := range r.active {
		if j.latest == nil {
			continue
		}
		if left := j.next.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		u := &update{id: id, progress: j.latest, over: make(chan struct{})}
		j.latest, j.posting = nil, u
		j.next = now.Add(r.interval)
		return u, 0
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
		j.closing, j.latest = true, nil
		if j.posting != nil {
			return j.posting.over
		}
	}
	over := make(chan struct{})
	close(over)
	return over
}
