package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
)

// An Error says why a URL could not be downloaded, in words for whoever wrote
// the URL.
type Error struct {
	// URL is shown without its query.
	URL string
	// Reason says what went wrong with it.
	Reason string
	// Retryable tells that the same URL may well work on another try.
	Retryable bool
	// Cause is what happened, for the log alone: it tells addresses that were
	// refused from those where nobody answered.
	Cause error
}

func (e *Error) Error() string { return fmt.Sprintf("fetch %s: %s", e.URL, e.Reason) }

// connectError says that no answer came.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// refusedError says that an address is not for strangers to reach.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return "refused: " + e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// explain makes an error of a download one for whoever wrote the URL. What is
// wrong with this pod's disk stays as it is.
func (c *Client) explain(ctx context.Context, u *url.URL, err error) error {
	var disk *fs.PathError
	if errors.As(err, &disk) {
		return fmt.Errorf("keep a download: %w", err)
	}
	e := c.reason(context.Cause(ctx), err)
	e.URL, e.Cause = shown(u), err
	return e
}

// reason says why a download ended with err. Given is why it was given up, if it
// was.
func (c *Client) reason(given, err error) *Error {
	var told *Error
	var connect *connectError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &told):
		return &Error{Reason: told.Reason, Retryable: told.Retryable}
	case errors.Is(err, errTooLarge):
		return c.tooLarge("there is too much of it")
	case errors.As(err, &certificate):
		return &Error{Reason: "the server's certificate is not valid for this URL"}
	case errors.As(err, &connect):
		return &Error{Reason: c.unreachable(), Retryable: true}
	case errors.Is(given, errIdle):
		return &Error{Reason: fmt.Sprintf("the server sent nothing for %v", c.cfg.Idle), Retryable: true}
	case errors.Is(given, errLate):
		return &Error{Reason: fmt.Sprintf("it took longer than %v", c.cfg.Limit), Retryable: true}
	}
	return &Error{Reason: "the connection broke before the file was complete", Retryable: true}
}

// unreachable is the one reason for all that keeps a connection from being made.
func (c *Client) unreachable() string {
	if c.guard == nil {
		return "nobody answers there"
	}
	return "nobody answers there, or it is not a public address (ALLOW_PRIVATE_URLS=true takes others too)"
}

func (c *Client) tooLarge(has string) *Error {
	return &Error{Reason: fmt.Sprintf("%s: a job may download %d MB in all (MAX_DOWNLOAD_MB)", has, c.cfg.MaxBytes/1e6)}
}
