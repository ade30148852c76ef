package runpod

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// An answer is a job's result as it is posted.
type answer struct {
	id   string
	body *payload.Body
	// completed is false for a failure.
	completed bool
	refresh   bool
}

// Done posts the result of a job until the queue has it, for ResultDeadline or
// until ctx ends. It reads the files of the result again for each try and not
// after it has returned. A job that has ended elsewhere needs no result, which
// is no error. After an error the queue has either an explicit failure in place
// of the result, or nothing.
func (c *Client) Done(ctx context.Context, r job.Result) error {
	a, err := encode(r)
	if err != nil {
		failed := c.conclude(ctx, substitute(a, &job.Failure{
			Kind: "internal", Cause: "internal",
			Message: "The result of the job could not be written as JSON: " + err.Error() + ". This is a defect of comfyvisor.",
		}))
		return errors.Join(err, failed)
	}
	return c.conclude(ctx, a)
}

// conclude delivers an answer and ends the job.
func (c *Client) conclude(ctx context.Context, a answer) error {
	select {
	case <-c.jobs.finish(a.id):
	case <-ctx.Done():
	}
	err := c.deliver(ctx, a)
	if f := explain(err, a.body.Size()); f != nil {
		c.jobs.memory.forget(a.id)
		if failed := c.deliver(ctx, substitute(a, f)); failed != nil {
			err = fmt.Errorf("%w; and the failure in its place: %w", err, failed)
		}
		c.jobs.end(a.id)
		return err
	}
	// A failure that has arrived is forgotten: handed out once more, its job is
	// meant to run again, because that is what RunPod's retry call does.
	if a.completed || err != nil {
		c.jobs.memory.put(a.id, a.body, time.Now())
	} else {
		c.jobs.memory.forget(a.id)
	}
	c.jobs.end(a.id)
	return err
}

// deliver posts an answer until the queue has it or never will.
func (c *Client) deliver(ctx context.Context, a answer) error {
	p := patience{deadline: time.Now().Add(c.cfg.ResultDeadline), denied: c.cfg.AuthDeadline}
	for n := 1; ; n++ {
		err := c.tryPost(ctx, a)
		if err == nil {
			return nil
		}
		switch judge(statusOf(err)) {
		case ended:
			c.log.Info("job had already ended, its result is not needed",
				zap.String("job", a.id), zap.Int("status", statusOf(err)))
			return nil
		case refused:
			return fmt.Errorf("deliver result of job %s, %d bytes: %w", a.id, a.body.Size(), err)
		}
		pause := max(c.jitter(n), spread(min(retryAfterOf(err), c.cfg.RetryAfter)))
		if p.over(err, pause) || !sleep(ctx, pause) {
			return fmt.Errorf("deliver result of job %s, %d bytes, given up after try %d: %w", a.id, a.body.Size(), n, err)
		}
		c.cfg.Retried()
	}
}

// patience is how long one delivery goes on.
type patience struct {
	deadline time.Time
	denied   time.Duration // after the key was first refused
	unread   int           // tries that could not read the result's files
	isDenied bool
}

// over reports whether a further try, after err and a pause, would be in vain.
func (p *patience) over(err error, pause time.Duration) bool {
	now := time.Now()
	if isDenied(err) && !p.isDenied {
		p.isDenied = true
		if limit := now.Add(p.denied); limit.Before(p.deadline) {
			p.deadline = limit
		}
	}
	if errors.Is(err, errUnreadable) && !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) { // descriptors come back
		p.unread++
	}
	return p.unread == 2 || now.Add(pause).After(p.deadline)
}

// tryPost posts an answer once and tells the log if that is news.
func (c *Client) tryPost(ctx context.Context, a answer) error {
	err := c.post(ctx, c.resultURL(a.id), a.id, a.body)
	switch judge(statusOf(err)) {
	case ended, refused: // about this job, not about the queue
		c.results.note(nil)
	default:
		if ctx.Err() == nil && !errors.Is(err, errUnreadable) {
			c.results.note(err)
		}
	}
	return err
}

// owe leaves an answer to Run.
func (c *Client) owe(a answer) {
	select {
	case c.owed <- a:
	default:
		c.jobs.end(a.id)
		c.log.Warn("too many jobs wait for an answer, left to the queue", zap.String("job", a.id))
	}
}

// settle gives the answers that are owed. When ctx ends it goes on for LastRead,
// because the last poll may have brought a job that cannot be run.
func (c *Client) settle(ctx context.Context) {
	longer, cancel := outlive(ctx, c.cfg.LastRead, c.cfg.Hurry)
	defer cancel()
	for {
		select {
		case a := <-c.owed:
			c.answerOwed(longer, a)
		case <-ctx.Done():
			if len(c.owed) == 0 {
				return
			}
		}
	}
}

func (c *Client) answerOwed(ctx context.Context, a answer) {
	panicked := true
	defer func() {
		if panicked { // then the queue hands the job out again
			c.jobs.end(a.id)
		}
	}()
	err := c.conclude(ctx, a)
	panicked = false
	if err != nil {
		c.log.Error("job has no answer", zap.String("job", a.id), zap.Error(err))
	}
}
