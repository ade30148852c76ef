package runpod

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// beatRetries is how often a heartbeat is repeated at once, unless the one before
// it was not answered either: a queue that is down is not asked four times as
// often as one that works.
const beatRetries = 3

// beat sends a heartbeat now and at each interval until ctx ends. One is out at
// a time: while it waits for its answer the next are left out.
func (c *Client) beat(ctx context.Context) {
	if c.ping.path == "" || c.cfg.APIKey == "" {
		c.greet()
		return
	}
	ticker := time.NewTicker(c.cfg.PingInterval)
	defer ticker.Stop()
	greeting, cancel := context.WithTimeout(ctx, c.cfg.Greeting) // the first take waits for it
	c.heartbeat(greeting)
	cancel()
	c.greet()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.heartbeat(ctx)
		}
	}
}

// heartbeat tells the queue that the worker lives and which jobs it has.
func (c *Client) heartbeat(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, 2*c.cfg.PingInterval)
	defer cancel()
	for n := 1; ; n++ {
		err := c.sendBeat(bounded)
		if ctx.Err() != nil {
			return
		}
		c.beats.note(err)
		status := statusOf(err)
		passing := status == 0 || status == http.StatusTooManyRequests || status >= 500
		if err == nil || !passing || n > beatRetries || c.beats.lasting(beatRetries+2) != nil || !sleep(bounded, c.jitter(n)) {
			return
		}
	}
}

func (c *Client) sendBeat(ctx context.Context) error {
	params := []string{"runpod_version", c.cfg.Version}
	if ids := c.jobs.ids(); len(ids) > 0 {
		params = append([]string{"job_id", strings.Join(ids, ",")}, params...)
	}
	res, err := c.get(ctx, c.ping.with(params...))
	if err == nil {
		err = settled(res)
	}
	if err != nil {
		return fmt.Errorf("send heartbeat: %w", err)
	}
	return nil
}

// What RunPod allows for the report of an unhealthy worker.
const (
	reasonLimit      = 256 // characters
	unhealthyTimeout = 2 * time.Second
)

// Unhealthy tells the queue that this worker should be replaced, and which check
// says so. Without a PingURL or an APIKey it does nothing.
func (c *Client) Unhealthy(ctx context.Context, check, reason string) error {
	if c.ping.path == "" || c.cfg.APIKey == "" {
		return nil
	}
	if r := []rune(reason); len(r) > reasonLimit {
		reason = string(r[:reasonLimit])
	}
	ctx, cancel := context.WithTimeout(ctx, unhealthyTimeout)
	defer cancel()
	res, err := c.get(ctx, c.ping.with("status", "unhealthy", "check", check, "reason", reason))
	if err == nil {
		err = settled(res)
	}
	if err != nil {
		return fmt.Errorf("report worker as unhealthy: %w", err)
	}
	return nil
}
