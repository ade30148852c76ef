package runpod

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A StatusError is an answer that is neither a success nor one of the
// protocol's ordinary ways to say "nothing".
type StatusError struct {
	Status int
	// RetryAfter is how long the server asked to be left alone, 0 if it did not.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("answered %d %s", e.Status, http.StatusText(e.Status))
}

var (
	errPollTimeout = errors.New("the queue neither answered nor ended the poll in time; a job that it handed out meanwhile is lost to this worker")
	errUnreadable  = errors.New("read result")
)

// verdict is what an answer to a result means.
type verdict int

const (
	again    verdict = iota // not there, try again
	accepted                // there
	ended                   // the job has ended already, here or elsewhere
	refused                 // this result will never be taken
	denied                  // the key is refused
)

// judge tells the verdict of a status.
func judge(status int) verdict {
	switch status {
	case http.StatusNotFound, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity:
		return ended
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return refused
	case http.StatusUnauthorized, http.StatusForbidden:
		return denied
	}
	if status/100 == 2 {
		return accepted
	}
	return again
}

// statusOf returns the status in err, 0 if there is none.
func statusOf(err error) int {
	var e *StatusError
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// retryAfterOf returns what the answer in err asked for, 0 if nothing.
func retryAfterOf(err error) time.Duration {
	var e *StatusError
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// retryAfter reads the header of that name, in either of its two forms.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 3600)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// withoutURL takes the URL out of an error of net/http and puts scheme and host
// in its place.
func withoutURL(u *url.URL, err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return fmt.Errorf("%s://%s: %w", u.Scheme, u.Host, err)
}
