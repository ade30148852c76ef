package comfy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// viewIdle is how long ComfyUI may send nothing while an output is read.
const viewIdle = 30 * time.Second

var errViewIdle = errors.New("ComfyUI stopped sending")

// View opens an output that ComfyUI has. Size is -1 if ComfyUI does not tell it.
// A body that ends before its size yields io.ErrUnexpectedEOF; ctx bounds the
// reading, too, and the caller must close the body. Retries are the caller's.
func (c *Client) View(ctx context.Context, o Output) (body io.ReadCloser, size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	idle := time.AfterFunc(viewIdle, func() { cancel(errViewIdle) })
	quit := func() {
		idle.Stop()
		cancel(nil)
	}
	query := url.Values{"filename": {o.Filename}, "subfolder": {o.Subfolder}, "type": {o.Type}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url("/view?"+query.Encode()), nil)
	if err != nil {
		quit()
		return nil, 0, fmt.Errorf("view %s: %w", o.Filename, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		quit()
		return nil, 0, fmt.Errorf("view %s: %w", o.Filename, causeOr(ctx, withoutURL(err)))
	}
	c.answered(resp)
	v := &viewed{ctx: ctx, body: resp.Body, idle: idle, quit: quit}
	if resp.StatusCode == http.StatusOK {
		return v, resp.ContentLength, nil
	}
	defer v.Close()
	text, _ := io.ReadAll(io.LimitReader(v, errorBodyLimit)) // it only adds to the error
	return nil, 0, fmt.Errorf("view %s: %w", o.Filename,
		&HTTPError{Method: http.MethodGet, Path: "/view", Status: resp.StatusCode, Body: string(text)})
}

// viewed is a body that gives up when nothing comes for a while.
type viewed struct {
	ctx  context.Context
	body io.ReadCloser
	idle *time.Timer
	quit func()
}

func (v *viewed) Read(p []byte) (int, error) {
	n, err := v.body.Read(p)
	if n > 0 {
		v.idle.Reset(viewIdle)
	}
	if err != nil && err != io.EOF {
		err = causeOr(v.ctx, err)
	}
	return n, err
}

func (v *viewed) Close() error {
	v.quit()
	return v.body.Close()
}

// causeOr returns the cause of the end of ctx, or err if it has not ended.
func causeOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
