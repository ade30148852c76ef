package runpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// Take waits for jobs and returns between 1 and n of them. When ctx ends, the
// poll that is open is read on for up to LastRead, and jobs that it brings are
// returned without an error; else Take returns the context's error, and never
// another one. Config.Hurry cuts that poll. All that a server hands out is returned, even if it is more than n.
// The first call waits a moment for Run's first heartbeat.
func (c *Client) Take(ctx context.Context, n int) ([]job.Job, error) {
	c.first.Do(func() { c.awaitGreeting(ctx) })
	var p pace
	for ctx.Err() == nil {
		asked := time.Now()
		jobs, err := c.ask(ctx, n)
		if len(jobs) > 0 {
			c.takes.note(nil)
			return jobs, nil
		}
		if ctx.Err() != nil {
			break
		}
		c.takes.note(err)
		if !sleep(ctx, c.pause(&p, err, time.Since(asked))) {
			break
		}
	}
	return nil, ctx.Err()
}

// awaitGreeting lets the first heartbeat go before the first take, because some
// servers know no worker that they have not heard of. A heartbeat that hangs
// holds up nothing for long.
func (c *Client) awaitGreeting(ctx context.Context) {
	patience := time.NewTimer(c.cfg.Greeting)
	defer patience.Stop()
	select {
	case <-c.greeted:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// ask polls once, and returns the jobs to run.
func (c *Client) ask(ctx context.Context, n int) ([]job.Job, error) {
	defer c.jobs.poll()()
	reading, cancel := outlive(ctx, c.cfg.LastRead, c.cfg.Hurry)
	defer cancel()
	reading, cancelTimeout := context.WithTimeoutCause(reading, c.cfg.PollTimeout, errPollTimeout)
	defer cancelTimeout()

	res, err := c.get(reading, c.takeURL(n))
	if err == nil {
		defer res.Body.Close()
		var found []handout
		if found, err = c.readJobs(res); err == nil {
			return c.admit(found), nil
		}
	}
	if errors.Is(context.Cause(reading), errPollTimeout) {
		err = errPollTimeout
	}
	return nil, fmt.Errorf("take job: %w", err)
}

func (c *Client) takeURL(n int) string {
	busy := "0"
	if len(c.jobs.ids()) > 0 {
		busy = "1"
	}
	if n > 1 && c.hasBatch {
		return c.batch.with("batch_size", strconv.Itoa(n), "job_in_progress", busy)
	}
	return c.take.with("job_in_progress", busy)
}

// readJobs reads the answer to a poll. 400 is how RunPod answers workers that
// are about to be frozen (FlashBoot); it means "none", like 204.
func (c *Client) readJobs(res *http.Response) ([]handout, error) {
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusBadRequest:
		return nil, nil
	default:
		return nil, statusError(res)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, c.cfg.AnswerLimit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read answer, whose jobs are lost to this worker: %w", err)
	case int64(len(body)) > c.cfg.AnswerLimit:
		return nil, fmt.Errorf("answered more than %d bytes", c.cfg.AnswerLimit)
	}
	return decode(body)
}

// admit sorts what was handed out: jobs to run are returned, those that need no
// run or cannot have one are answered by Run.
func (c *Client) admit(found []handout) []job.Job {
	var jobs []job.Job
	now := time.Now()
	for _, h := range found {
		if h.job.ID == "" {
			c.log.Warn("took something that is no job, ignored", zap.String("reason", h.fault), zap.String("shape", h.shape))
			continue
		}
		log := c.log.With(zap.String("job", h.job.ID))
		admission, canceled, outcome := c.jobs.admit(h.job.ID, now)
		switch {
		case admission == attached:
			log.Info("job was handed out again while it runs")
		case admission == known:
			log.Info("job was handed out again after its end, its result is posted again")
			c.owe(repeat(h.job.ID, outcome))
		case h.fault != "":
			log.Warn("job cannot be run", zap.String("reason", h.fault))
			c.owe(badRequest(h.job.ID, h.fault))
		default:
			h.job.Taken, h.job.Canceled = now, canceled
			jobs = append(jobs, h.job)
		}
	}
	return jobs
}

// A pace counts what came of the polls of one Take.
type pace struct {
	failures int // in a row
	empties  int // in a row, answered at once
}

// pause is how long to wait after a poll that brought no job to run and took
// held.
func (c *Client) pause(p *pace, err error, held time.Duration) time.Duration {
	if err == nil {
		p.failures = 0
		if held >= c.cfg.HeldPoll {
			p.empties = 0
			return 0
		}
		p.empties++
		return bound(p.empties, c.cfg.IdleFirst, c.cfg.IdleMax)
	}
	p.empties = 0
	p.failures++
	return c.afterError(err, p.failures)
}

// afterError is how long to wait after the n-th error in a row.
func (c *Client) afterError(err error, n int) time.Duration {
	asked := min(retryAfterOf(err), c.cfg.RetryAfter)
	switch {
	case isDenied(err):
		return c.cfg.Unauthorized
	case statusOf(err) == http.StatusTooManyRequests && asked == 0:
		return c.cfg.Throttled
	case asked > 0:
		return spread(asked)
	}
	return c.jitter(n)
}
