package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// errNoStopChannel is the answer of servers that cannot stop jobs.
var errNoStopChannel = errors.New("the queue has no stop channel")

// listen polls the stop channel until ctx ends, and cancels the jobs that it
// names.
func (c *Client) listen(ctx context.Context) {
	if !c.hasStop {
		return
	}
	failures := 0
	for ctx.Err() == nil {
		asked := time.Now()
		ids, err := c.askStops(ctx)
		if ctx.Err() != nil {
			return
		}
		for _, id := range ids {
			if c.jobs.cancel(id) {
				c.log.Info("job is to be stopped", zap.String("job", id))
			}
		}
		pause := c.cfg.StopFloor - time.Since(asked)
		switch {
		case errors.Is(err, errNoStopChannel):
			c.log.Debug("asking later for jobs to stop", zap.Error(err))
			pause = c.cfg.StopUnsupported
		case err != nil:
			failures++
			c.stops.note(err)
			pause = max(pause, c.afterError(err, failures))
		default:
			failures = 0
			c.stops.note(nil)
		}
		sleep(ctx, pause)
	}
}

// askStops polls once and returns the ids of jobs that are wanted no more.
func (c *Client) askStops(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.PollTimeout)
	defer cancel()
	busy := "0"
	if len(c.jobs.ids()) > 0 {
		busy = "1"
	}
	res, err := c.get(ctx, c.stop.with("job_in_progress", busy))
	if err != nil {
		return nil, fmt.Errorf("ask for jobs to stop: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusBadRequest:
		return nil, nil
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return nil, errNoStopChannel
	default:
		return nil, fmt.Errorf("ask for jobs to stop: %w", statusError(res))
	}
	ids, err := decodeStops(io.LimitReader(res.Body, c.cfg.AnswerLimit))
	if err != nil {
		return nil, fmt.Errorf("ask for jobs to stop: read answer: %w", err)
	}
	return ids, nil
}

// decodeStops returns the ids of the jobs that an answer names.
func decodeStops(answer io.Reader) ([]string, error) {
	var named struct {
		JobsToStop []string `json:"jobsToStop"`
	}
	err := json.NewDecoder(answer).Decode(&named)
	return named.JobsToStop, err
}
