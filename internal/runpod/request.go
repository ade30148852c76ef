package runpod

import (
	"context"
	"io"
	"net/http"
	"time"
)

// userAgent names us to servers that want to know.
const userAgent = "comfyvisor"

// get asks for url and returns the answer, whose body the caller closes.
func (c *Client) get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return c.send(req)
}

func (c *Client) send(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", userAgent)
	if c.cfg.APIKey != "" {
		req.Header.Set("Authorization", c.cfg.APIKey)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, withoutURL(req.URL, err)
	}
	return res, nil
}

// settled closes an answer of which only the status matters, and returns nil for
// a success. A little of the body is read, so that the connection can be kept.
func settled(res *http.Response) error {
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4<<10)) // a broken rest changes nothing
	if res.StatusCode/100 == 2 {
		return nil
	}
	return statusError(res)
}

func statusError(res *http.Response) error {
	return &StatusError{
		Status:     res.StatusCode,
		RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now()),
	}
}
