package jobclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config says which server is asked.
type Config struct {
	// URL is where the routes of the job API begin: http://127.0.0.1:8000, or
	// https://api.runpod.ai/v2/ENDPOINT.
	URL string
	// Token is sent as "Authorization: Bearer TOKEN"; none if empty.
	Token string
	// Dir is where documents are kept while they are read; "" is the system's
	// directory for temporary files.
	Dir string
}

// A Client asks one server. It is made by New; its methods may be called from any
// goroutine.
type Client struct {
	base  *url.URL
	token string
	dir   string
	http  http.Client
}

// New returns a Client. Its error names what is wrong with the URL.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the URL of a job API: want http://HOST:PORT, or https://HOST/PATH", cfg.URL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the URL of the job API at %s has more than host and path: leave out user, query and fragment", u.Host)
	}
	return &Client{base: u, token: cfg.Token, dir: cfg.Dir, http: http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			TLSHandshakeTimeout:   patience,
			ResponseHeaderTimeout: patience,
			ForceAttemptHTTP2:     true,
		},
	}}, nil
}

// patience is how long the beginning of an answer may take.
const patience = 30 * time.Second

// URL is the server's address, for messages.
func (c *Client) URL() string { return c.base.String() }

// Close gives up the connections that are kept for further calls.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A StatusError is an answer that refuses what was asked.
type StatusError struct {
	Code int
	// Text is what the server says about it, "" if nothing that can be read.
	Text string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("answered %d %s", e.Code, http.StatusText(e.Code))
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Passing tells whether the same call may well succeed a moment later.
func Passing(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code == http.StatusTooManyRequests || status.Code >= http.StatusInternalServerError
	}
	var network *url.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Submit sends a job, the object with the field input, and returns its id.
func (c *Client) Submit(ctx context.Context, job json.RawMessage) (id string, err error) {
	var answer struct {
		ID string `json:"id"`
	}
	if err := c.call(ctx, http.MethodPost, "run", job, &answer); err != nil {
		return "", fmt.Errorf("send the job to %s: %w", c.base, err)
	}
	if answer.ID == "" {
		return "", fmt.Errorf("send the job to %s: the answer has no id; is this the address of a job API?", c.base)
	}
	return answer.ID, nil
}

// Cancel gives the job up and returns its state.
func (c *Client) Cancel(ctx context.Context, id string) (State, error) {
	var answer struct {
		Status State `json:"status"`
	}
	if err := c.call(ctx, http.MethodPost, "cancel/"+url.PathEscape(id), nil, &answer); err != nil {
		return "", fmt.Errorf("cancel job %s at %s: %w", id, c.base, err)
	}
	return answer.Status, nil
}

// Restart has comfyvisor's local API restart ComfyUI between two jobs, or at once
// with force, and returns what will happen in the server's words.
func (c *Client) Restart(ctx context.Context, force bool) (string, error) {
	body, err := json.Marshal(map[string]bool{"force": force})
	if err != nil {
		return "", err
	}
	var answer map[string]any
	if err := c.call(ctx, http.MethodPost, "restart", body, &answer); err != nil {
		return "", fmt.Errorf("restart ComfyUI through %s: %w", c.base, err)
	}
	for _, name := range []string{"message", "status"} {
		if text, ok := answer[name].(string); ok {
			return text, nil
		}
	}
	return "asked for", nil
}

// Health counts the jobs of the server by state.
type Health struct {
	Jobs struct {
		InQueue    int `json:"inQueue"`
		InProgress int `json:"inProgress"`
		Completed  int `json:"completed"`
		Failed     int `json:"failed"`
		Retried    int `json:"retried"`
	} `json:"jobs"`
}

// Health asks for the counts.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var h Health
	if err := c.call(ctx, http.MethodGet, "health", nil, &h); err != nil {
		return h, fmt.Errorf("ask %s how it is: %w", c.base, err)
	}
	return h, nil
}

// call sends a request and decodes its short answer.
func (c *Client) call(ctx context.Context, method, route string, body []byte, answer any) error {
	resp, err := c.send(ctx, method, route, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, shortAnswer))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the answer is no JSON of a job API (%v); is this its address?", err)
	}
	return nil
}

// shortAnswer bounds answers that hold no results, in bytes.
const shortAnswer = 1 << 20

// send returns an answer of status 200 to 299; the caller closes its body.
func (c *Client) send(ctx context.Context, method, route string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+"/"+route, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, &StatusError{resp.StatusCode, refusal(resp.Body)}
	}
	return resp, nil
}

// refusal is what an answer says about the error, for people.
func refusal(body io.Reader) string {
	text, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err != nil {
		return ""
	}
	var doc struct {
		Error any `json:"error"`
	}
	if json.Unmarshal(text, &doc) == nil && doc.Error != nil {
		if s, ok := doc.Error.(string); ok {
			return s
		}
		text, _ = json.Marshal(doc.Error) // it was JSON before
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line[:min(len(line), 500)]
}

// spool is a file that is gone when it is closed.
func (c *Client) spool() (*os.File, error) {
	f, err := os.CreateTemp(c.dir, "comfyvisor-*.json")
	if err != nil {
		return nil, fmt.Errorf("make a file for the result: %w; set TMPDIR to a directory with space", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
