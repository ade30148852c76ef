package runpod

import (
	"context"
	"math/rand/v2"
	"time"
)

// soonest is the shortest pause after a failure. With it no call is repeated 20
// times a second, not even if net/http repeats some of them by itself, as it
// does when a kept connection turns out dead.
const soonest = 60 * time.Millisecond

// bound is the longest pause after the n-th failure in a row, n from 1 on.
func bound(n int, first, limit time.Duration) time.Duration {
	d := first
	for range n - 1 {
		if d >= limit {
			return limit
		}
		d *= 2
	}
	return min(d, limit)
}

// jitter picks a pause anywhere below bound, so that many workers that lost the
// same queue do not return to it at the same moment.
func (c *Client) jitter(n int) time.Duration {
	top := bound(n, c.cfg.BackoffFirst, c.cfg.BackoffMax)
	return max(soonest, time.Duration(rand.Int64N(int64(top)+1)))
}

// spread makes a pause that a queue has asked for up to a third longer, because
// it asks all of its workers for the same.
func spread(asked time.Duration) time.Duration {
	return asked + time.Duration(rand.Int64N(int64(asked/3)+1))
}

// sleep waits for d and reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// outlive returns a context that ends d after ctx does, or as soon as hurry is
// closed then. The caller must call cancel.
func outlive(ctx context.Context, d time.Duration, hurry <-chan struct{}) (longer context.Context, cancel context.CancelFunc) {
	longer, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-hurry:
		case <-longer.Done():
		}
		end()
	})
	return longer, func() { stop(); end() }
}
