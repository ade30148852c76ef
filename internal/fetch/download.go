package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Why a download is given up.
var (
	errIdle     = errors.New("no byte came in time")
	errLate     = errors.New("the download took too long")
	errTooLarge = errors.New("too many bytes")
)

// A download is one URL on its way to a file.
type download struct {
	c    *Client
	left *atomic.Int64 // bytes that this and other downloads may still store
	idle *time.Timer   // ends the download unless it is reset
	body io.Reader     // of the answer that is stored
}

// one downloads one URL. What it stores is taken from left.
func (c *Client) one(ctx context.Context, u *url.URL, left *atomic.Int64) (*File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.Limit, errLate)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d := download{c: c, left: left, idle: time.AfterFunc(c.cfg.Idle, func() { stop(errIdle) })}
	defer d.idle.Stop()

	file, err := newFile(c.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("keep a download in %s: %w", c.cfg.Dir, err)
	}
	if file.Size, err = d.store(ctx, u, file.file); err != nil {
		_ = file.Close() // nobody has seen it
		return nil, c.explain(ctx, u, err)
	}
	return file, nil
}

// store writes what u leads to.
func (d *download) store(ctx context.Context, u *url.URL, to io.Writer) (int64, error) {
	body, err := d.open(ctx, u)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	d.body = body
	n, err := io.Copy(to, d)
	if err == nil && n == 0 {
		err = &Error{Reason: "the answer is empty"}
	}
	return n, err
}

// Read reads the body, as far as there are bytes left.
func (d *download) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	if n > 0 {
		d.idle.Reset(d.c.cfg.Idle)
	}
	if d.left.Add(int64(-n)) < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// open asks for u, follows redirects, and returns the body of a good answer.
func (d *download) open(ctx context.Context, u *url.URL) (io.ReadCloser, error) {
	for range redirects + 1 {
		resp, err := d.ask(ctx, u)
		if err != nil {
			return nil, &connectError{err}
		}
		if !isRedirect(resp) {
			if err := d.judge(resp); err != nil {
				resp.Body.Close()
				return nil, err
			}
			return resp.Body, nil
		}
		resp.Body.Close()
		if u, err = d.next(resp); err != nil {
			return nil, err
		}
	}
	return nil, &Error{Reason: fmt.Sprintf("it is redirected more than %d times", redirects)}
}

// ask sends one request. Without http.Client there are no cookies, no Referer,
// and no redirects that nobody has judged.
func (d *download) ask(ctx context.Context, u *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "comfyvisor")
	req.Header.Set("Accept-Encoding", "identity")
	d.idle.Reset(d.c.cfg.Idle)
	return d.c.transport.RoundTrip(req)
}

func isRedirect(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// next is where a redirect leads.
func (d *download) next(resp *http.Response) (*url.URL, error) {
	to, err := resp.Location()
	if err != nil {
		return nil, &Error{Reason: "the server redirects, but to no URL"}
	}
	if to, err = d.c.Check(to.String()); err != nil {
		return nil, &connectError{&refusedError{fmt.Errorf("redirect: %w", err)}}
	}
	return to, nil
}

// judge tells whether the body of an answer is worth reading.
func (d *download) judge(resp *http.Response) error {
	status := resp.StatusCode
	answer := fmt.Sprintf("the server answers %d %s", status, http.StatusText(status))
	encoding := resp.Header.Get("Content-Encoding")
	switch {
	case status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests:
		return &Error{Reason: answer, Retryable: true}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return &Error{Reason: answer + ": it wants a login, or the link has expired"}
	case status != http.StatusOK:
		return &Error{Reason: answer}
	case encoding != "" && encoding != "identity":
		return &Error{Reason: "the server sends it compressed, although it was asked not to"}
	case resp.ContentLength > d.left.Load():
		return d.c.tooLarge(fmt.Sprintf("it has %d bytes", resp.ContentLength))
	}
	return nil
}
