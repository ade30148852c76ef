package runpod

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// slowest is the rate, in bytes per second, below which a post is given up.
const slowest = 64 << 10

// resultURL is where the result of a job goes, and its progress.
func (c *Client) resultURL(id string) string {
	return c.done.fill(idPlace, id).with("isStream", "false")
}

// streamURL is where parts of a job's output go.
func (c *Client) streamURL(id string) string {
	return c.stream.fill(idPlace, id).with("isStream", "true")
}

// post sends body, which is about a job, to url. It is JSON, though the header
// says otherwise: that is what RunPod's own SDK sends.
func (c *Client) post(ctx context.Context, url, id string, body *payload.Body) error {
	limit := c.cfg.PostTimeout + time.Duration(body.Size()/slowest)*time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	content := &source{r: body.Reader()}
	defer content.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, content)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	req.GetBody = func() (io.ReadCloser, error) { return &source{r: body.Reader()}, nil }
	req.ContentLength = body.Size()
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("charset", "utf-8")
	req.Header.Set("X-Request-ID", id)
	res, err := c.send(req)
	if err == nil {
		err = settled(res)
	}
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	return nil
}

// source marks the errors of a body's own files, which look like errors of the
// network otherwise. net/http may close it while it reads from it, and may read
// from it after its answer has come: a closed source reads no file.
type source struct {
	mu     sync.Mutex
	r      io.ReadCloser
	closed bool
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return n, err
}

func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.r.Close()
}
