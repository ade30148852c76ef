package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// Config says how webhooks are sent.
type Config struct {
	// Secret signs them; "" leaves them unsigned.
	Secret string
	// AllowPrivate takes URLs of any address and any port.
	AllowPrivate bool
	// Limit is the longest that one may take; 10 s.
	Limit time.Duration
}

// The headers of a signed request.
const (
	timestampHeader = "X-Comfyvisor-Timestamp"
	signatureHeader = "X-Comfyvisor-Signature"
)

// A Sender sends webhooks. Its methods may be called from several goroutines.
type Sender struct {
	cfg  Config
	urls *fetch.Client
	http *http.Client
}

// New returns a Sender.
func New(cfg Config) *Sender {
	if cfg.Limit == 0 {
		cfg.Limit = 10 * time.Second
	}
	urls := fetch.New(fetch.Config{AllowPrivate: cfg.AllowPrivate})
	return &Sender{cfg: cfg, urls: urls, http: &http.Client{
		Transport: urls.Transport(),
		// Where it leads is for its owner to put right: a POST that is redirected
		// would become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Check returns what is wrong with a URL, as far as its text tells. The error
// does not have the URL in it.
func (s *Sender) Check(raw string) error {
	_, err := s.urls.Check(raw)
	return err
}

// Post sends body once. It succeeds when the receiver answers 200, or any 2xx. The
// error names the host alone: paths and queries have secrets in them.
func (s *Sender) Post(ctx context.Context, raw string, body *payload.Body) error {
	u, err := s.urls.Check(raw)
	if err != nil {
		return fmt.Errorf("send webhook: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body.Reader())
	if err != nil {
		return fmt.Errorf("send webhook to %s: the URL cannot be used", u.Host)
	}
	req.ContentLength = body.Size()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "comfyvisor")
	if s.cfg.Secret != "" {
		now := strconv.FormatInt(time.Now().Unix(), 10)
		signature, err := sign(s.cfg.Secret, now, body)
		if err != nil {
			return fmt.Errorf("sign webhook: %w", err)
		}
		req.Header.Set(timestampHeader, now)
		req.Header.Set(signatureHeader, "sha256="+signature)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("send webhook to %s: %w", u.Host, s.reason(ctx, err))
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("send webhook to %s: it answered %d, want 200", u.Host, resp.StatusCode)
	}
	return nil
}

// reason is err without the URL.
func (s *Sender) reason(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", s.cfg.Limit)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// sign reads all of body.
func sign(secret, timestamp string, body *payload.Body) (string, error) {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(mac, timestamp+".") // a hash takes everything
	r := body.Reader()
	defer r.Close()
	if _, err := io.Copy(mac, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(mac.Sum(nil)), nil
}
