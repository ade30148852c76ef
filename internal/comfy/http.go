package comfy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Bounds of answers: how long they may take and how large they may be.
const (
	answerTimeout  = 30 * time.Second
	submitTimeout  = 2 * time.Minute // ComfyUI may be busy loading a model
	smallAnswer    = 64 << 10
	mediumAnswer   = 4 << 20
	largeAnswer    = 64 << 20
	errorBodyLimit = 2 << 10
)

// A dialFailure tells that a request never left, because nobody listened.
type dialFailure struct{ error }

func (e dialFailure) Unwrap() error { return e.error }

// newTransport makes the transport of a client. It goes to one address, so that
// proxies have no say in it, and decompresses nothing.
func newTransport(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, dialFailure{err}
			}
			return conn, nil
		},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: smallAnswer,
	}
}

// An answer is a response whose body was read whole.
type answer struct {
	method, path string
	status       int
	body         []byte
}

// ok returns an HTTPError unless the answer is 200.
func (a *answer) ok() error {
	if a.status == http.StatusOK {
		return nil
	}
	return &HTTPError{Method: a.method, Path: a.path, Status: a.status, Body: cut(string(a.body), errorBodyLimit)}
}

// decode decodes a 200 answer.
func (a *answer) decode(v any) error {
	if err := a.ok(); err != nil {
		return err
	}
	if err := decode(a.body, v); err != nil {
		return fmt.Errorf("%s %s: decode answer of %d bytes: %w", a.method, a.path, len(a.body), err)
	}
	return nil
}

// A request is a question to ComfyUI and what bounds its answer.
type request struct {
	method, path string
	body         []byte // JSON
	limit        int64  // of the answer
	timeout      time.Duration
}

// slowAnswer tells that ComfyUI accepted a request and did not answer in time.
type slowAnswer struct{ timeout time.Duration }

func (e slowAnswer) Error() string { return fmt.Sprintf("no answer within %v", e.timeout) }
func (e slowAnswer) Timeout() bool { return true }

// get asks once, and once more when the connection broke: ComfyUI may have
// closed an idle one at that moment.
func (c *Client) get(ctx context.Context, path string, limit int64) (*answer, error) {
	question := request{method: http.MethodGet, path: path, limit: limit, timeout: answerTimeout}
	a, err := c.exchange(ctx, question)
	var dial dialFailure
	if err == nil || ctx.Err() != nil || errors.As(err, &dial) || isTimeout(err) {
		return a, err
	}
	return c.exchange(ctx, question)
}

// reconnect makes the next request open a connection of its own. A second try on
// a kept one may meet the same fate as the first: whoever closes one idle
// connection is likely to close the others.
func (c *Client) reconnect() { c.transport.CloseIdleConnections() }

// exchange sends a request once and reads its whole answer.
func (c *Client) exchange(parent context.Context, r request) (*answer, error) {
	ctx, cancel := context.WithTimeout(parent, r.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r.path), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	a, err := c.roundTrip(req, r)
	if err == nil {
		return a, nil
	}
	if ctx.Err() != nil && parent.Err() == nil {
		err = slowAnswer{r.timeout}
	}
	return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
}

func (c *Client) roundTrip(req *http.Request, r request) (*answer, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	c.answered(resp)
	defer resp.Body.Close()
	a := &answer{method: r.method, path: r.path, status: resp.StatusCode}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, r.limit+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(a.body)) > r.limit {
		return nil, fmt.Errorf("the answer is larger than %d bytes", r.limit)
	}
	return a, nil
}

// stream200 sends a request once and gives read the body of a 200 answer while it
// arrives, cut at the limit.
func (c *Client) stream200(parent context.Context, r request, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(parent, r.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r.path), nil)
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, withoutURL(err))
	}
	c.answered(resp)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		start, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit)) // what there is of it
		return &HTTPError{Method: r.method, Path: r.path, Status: resp.StatusCode, Body: string(start)}
	}
	if err := read(io.LimitReader(resp.Body, r.limit)); err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	return nil
}

func (c *Client) url(path string) string { return "http://" + c.cfg.Addr + path }

// withoutURL takes the URL out of an error of net/http, which repeats it.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
