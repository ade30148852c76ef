package comfy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Pauses between two attempts to cancel a prompt.
const (
	cancelFirst = 100 * time.Millisecond
	cancelMost  = 250 * time.Millisecond
)

// letGo is how long a prompt may be seen to run on before it counts as one that
// ComfyUI does not let go of.
const letGo = 2 * time.Second

// Cancel takes a prompt out of ComfyUI's queue or interrupts it, and returns nil
// when it is neither pending nor running any more, nor on its way to it. It never
// stops another one.
//
// ComfyUI loses interrupts, and nodes that do not look for them go on to their
// end. So Cancel tries again until ctx ends; then its error says what stood in
// the way, ErrStillRuns if that was the prompt itself, and only a restart of ComfyUI
// helps, and ErrUnsure if a while longer may do.
func (c *Client) Cancel(ctx context.Context, called string) error {
	seen := false
	var since time.Time // it is seen to run
	for step := cancelFirst; ; step = min(step+cancelFirst/2, cancelMost) {
		coming := c.postings.has(called)
		id := c.wireID(called)
		err := c.revoke(ctx, id)
		if err == nil {
			var at whereabouts
			at, err = c.find(ctx, id)
			switch {
			case err != nil:
			case at.place == ended, at.place == unknown && seen && !coming:
				return nil
			case at.place == unknown && coming:
				err = errors.New("its submission has not been answered")
			case at.place == unknown:
				// A submission that broke off may still be on its way: look a second time.
				err = ErrUnsure
			case at.place == running:
				if since.IsZero() {
					since = time.Now()
				}
				if err = ErrStillRuns; time.Since(since) < letGo {
					err = ErrUnsure
				}
			default:
				err = fmt.Errorf("it is still %s", at.place)
			}
			seen = !coming
		}
		if !pause(ctx, step) {
			return fmt.Errorf("cancel prompt %s: %w: %w", called, context.Cause(ctx), err)
		}
	}
}

// revoke asks once to cancel a prompt. The answer says nothing about success.
func (c *Client) revoke(ctx context.Context, id string) error {
	if !c.lacksCancel.Load() {
		a, err := c.exchange(ctx, request{
			method: http.MethodPost, path: "/api/jobs/" + url.PathEscape(id) + "/cancel",
			limit: smallAnswer, timeout: answerTimeout,
		})
		switch {
		case err != nil:
			return err
		case a.status == http.StatusOK:
			return nil
		case a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed:
			c.lacksCancel.Store(true) // before 0.26.0
		}
	}
	if err := c.command(ctx, "/queue", map[string][]string{"delete": {id}}); err != nil {
		return err
	}
	return c.command(ctx, "/interrupt", map[string]string{"prompt_id": id})
}

func (p place) String() string {
	return [...]string{"unknown", "pending", "running", "ended"}[p]
}
