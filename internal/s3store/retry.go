package s3store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
)

// patience spaces the attempts of one request: random pauses of up to 1, 3, 9,
// 27 and then 60 s, until the deadline after the first failure.
type patience struct {
	backoff.ExponentialBackOff
	deadline time.Duration
	since    time.Time // the first failure, zero before it
}

func newPatience(deadline time.Duration) *patience {
	return &patience{deadline: deadline, ExponentialBackOff: backoff.ExponentialBackOff{
		// A pause is drawn from 0 to twice the interval: full jitter.
		InitialInterval: 500 * time.Millisecond, RandomizationFactor: 1, Multiplier: 3, MaxInterval: 30 * time.Second,
	}}
}

// NextBackOff is asked after each failure.
func (p *patience) NextBackOff() time.Duration {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	pause := p.ExponentialBackOff.NextBackOff()
	if time.Since(p.since)+pause > p.deadline {
		return backoff.Stop
	}
	return pause
}

// try runs call, which sends one request, until it succeeds, can not succeed,
// or patience ends. Op is S3's name of the request and key its object, if any.
func (s *Store) try(ctx context.Context, op, key string, call func() error) error {
	attempts := 0
	attempt := func() (struct{}, error) {
		err := s.corrected(func() error { attempts++; return call() })
		if err != nil && !worthRepeating(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	_, err := backoff.Retry(ctx, attempt,
		backoff.WithBackOff(newPatience(s.cfg.Deadline)),
		backoff.WithMaxTries(uint(s.cfg.Attempts)),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, pause time.Duration) {
			s.cfg.Retried()
			s.log.Warn("S3 request did not succeed, it is sent again",
				zap.Duration("backoff", pause), zap.Int("attempt", attempts), zap.Error(s.fault(op, key, attempts, err)))
		}))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", op, s.at.Load().name(key), context.Cause(ctx))
	}
	return s.fault(op, key, attempts, err)
}

// corrected runs call, and at once again when its error told what was wrong
// with the request and that is mended: the region, or the clock (by the SDK,
// which shifts the time of its later requests).
func (s *Store) corrected(call func() error) error {
	for corrections := 0; ; corrections++ {
		used := *s.at.Load()
		err := call()
		if err == nil || corrections == 2 {
			return err
		}
		region := regionOf(err)
		moved := used.inRegion(region)
		switch {
		case region != "" && moved != used:
			s.at.Store(&moved)
			s.log.Info("the bucket is in another region", zap.String("bucket", used.bucket), zap.String("region", region))
		case !clockWasWrong(err):
			return err
		}
	}
}

// regionForm is what a region may look like; it becomes part of a host's name.
var (
	regionForm     = compile(`^[a-z0-9-]{1,40}$`)
	expectedRegion = compile(`expecting ['"]([^'"]*)['"]`)
)

// regionOf returns the region that the answer sends us to, "" if it does not.
func regionOf(err error) string {
	status, answer := responseOf(err)
	var region string
	switch status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest:
		region = answer.Get("X-Amz-Bucket-Region")
	}
	if m := expectedRegion().FindStringSubmatch(messageOf(err)); region == "" && m != nil && status == http.StatusBadRequest {
		region = m[1]
	}
	if !regionForm().MatchString(region) {
		return ""
	}
	return region
}

// clockWasWrong tells whether the SDK takes the error for a sign that our clock
// differs from the store's, which it then makes up for in further requests.
func clockWasWrong(err error) bool {
	var skewed interface{ RetryableError() bool }
	return codeOf(err) != "" && errors.As(err, &skewed) && skewed.RetryableError()
}

// worthRepeating tells errors that may go away from those that will not.
func worthRepeating(err error) bool {
	var (
		source      *sourceError
		unknownHost *net.DNSError
		certificate *tls.CertificateVerificationError
	)
	if errors.As(err, &source) || errors.As(err, &certificate) {
		return false
	}
	if errors.As(err, &unknownHost) && unknownHost.IsNotFound {
		return false
	}
	switch codeOf(err) {
	case "RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch": // damaged on the way
		return true
	}
	switch status, _ := responseOf(err); {
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return true
	case status == http.StatusNotImplemented, status == http.StatusInsufficientStorage:
		return false
	default: // no answer, a broken one, or a wrong object
		return status < 300 || status >= 500
	}
}

// responseOf returns the status and headers of an answer that is an error, or
// 0 if there was no answer.
func responseOf(err error) (int, http.Header) {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return 0, nil
	}
	return answer.HTTPStatusCode(), answer.Response.Header
}

// codeOf returns S3's word for an error, "" if it said none.
func codeOf(err error) string {
	var said smithy.APIError
	if errors.As(err, &said) {
		return said.ErrorCode()
	}
	return ""
}

func messageOf(err error) string {
	var said smithy.APIError
	if errors.As(err, &said) {
		return said.ErrorMessage()
	}
	return ""
}
