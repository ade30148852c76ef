package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
)

// request is what a client asks for with /run or /runsync.
type request struct {
	input   json.RawMessage
	policy  policy
	webhook string // where the end of the job is told, "" for nowhere
}

// policy is what a client asks for beside the input: how long a job may take, and
// where its files go.
type policy struct {
	execution time.Duration // 0 if the client does not say
	ttl       time.Duration // in the queue
	bucket    string        // s3Config as it came, with keys in it: for memory only; "" if there was none
}

const (
	defaultTTL = 24 * time.Hour
	maxPolicy  = 7 * 24 * time.Hour
)

// decodeRequest reads a request's body. Its errors are badRequest and say which
// field is wrong. The input is kept as it came.
func decodeRequest(body []byte) (request, error) {
	var wire struct {
		Input    json.RawMessage `json:"input"`
		S3Config json.RawMessage `json:"s3Config"`
		Webhook  string          `json:"webhook"`
		Policy   struct {
			ExecutionTimeout int64 `json:"executionTimeout"` // milliseconds
			TTL              int64 `json:"ttl"`              // milliseconds
		} `json:"policy"`
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return request{}, badRequest(`the body is empty: send {"input": {"workflow": ...}}`)
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return request{}, badJSON(err)
	}
	if len(wire.Input) == 0 || string(wire.Input) == "null" {
		return request{}, badRequest(`input is missing: send {"input": {"workflow": ...}}`)
	}
	execution, err := milliseconds("policy.executionTimeout", wire.Policy.ExecutionTimeout, 0)
	if err != nil {
		return request{}, err
	}
	ttl, err := milliseconds("policy.ttl", wire.Policy.TTL, defaultTTL)
	if err != nil {
		return request{}, err
	}
	input, inside := takeBucket(wire.Input)
	bucket := firstBucket(wire.S3Config, inside)
	if len(bucket) > maxBucket {
		return request{}, badRequest(fmt.Sprintf("s3Config has %d bytes: at most %d are taken", len(bucket), maxBucket))
	}
	return request{input: input, policy: policy{execution, ttl, bucket}, webhook: wire.Webhook}, nil
}

func badJSON(err error) error {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		if wrong.Field == "" {
			return badRequest(fmt.Sprintf("the body is of JSON type %s: send an object", wrong.Value))
		}
		return badRequest(fmt.Sprintf("%s is of JSON type %s, which it cannot be", wrong.Field, wrong.Value))
	}
	if wrong := (*json.SyntaxError)(nil); errors.As(err, &wrong) {
		return badRequest(fmt.Sprintf("the body is not JSON: %v at byte %d", wrong, wrong.Offset))
	}
	return badRequest(fmt.Sprintf("the body is not JSON: %v", err))
}

// milliseconds is the duration of a policy's field, of which 0 means unset.
func milliseconds(field string, ms int64, unset time.Duration) (time.Duration, error) {
	switch {
	case ms == 0:
		return unset, nil
	case ms < 0 || ms > maxPolicy.Milliseconds():
		return 0, badRequest(fmt.Sprintf("%s is %d: it is 1 to %d ms", field, ms, maxPolicy.Milliseconds()))
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// errBody is the error of a body that is larger than Config.MaxBody.
var errBody = errors.New("the body is too large")

func (s *Server) readRequest(r *http.Request) (request, error) {
	text, err := s.readBody(r)
	defer s.store.inputs.Release(int64(len(text)))
	if err != nil {
		return request{}, err
	}
	q, err := decodeRequest(text)
	switch {
	case err != nil:
		return request{}, err
	case s.cfg.Webhooks == nil:
		q.webhook = ""
	case q.webhook != "":
		if err := s.cfg.Webhooks.Check(q.webhook); err != nil {
			return request{}, badRequest(fmt.Sprintf("webhook: %v", err))
		}
	}
	return q, nil
}

// readInto reads a small body, which may be empty, into what it is.
func (s *Server) readInto(r *http.Request, v any) error {
	text, err := s.readBody(r)
	defer s.store.inputs.Release(int64(len(text)))
	switch {
	case err != nil:
		return err
	case len(bytes.TrimSpace(text)) == 0:
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return badJSON(err)
	}
	return nil
}

// readBody reads a request's body as far as there is memory for it. The text
// that it returns, with or without an error, has been acquired from
// store.inputs.
func (s *Server) readBody(r *http.Request) ([]byte, error) {
	tooLarge := fmt.Errorf("%w: at most %d bytes are read; give URLs instead of files in the input", errBody, s.cfg.MaxBody)
	if r.ContentLength > s.cfg.MaxBody {
		return nil, tooLarge
	}
	text, err := io.ReadAll(&metered{r.Body, s.store.inputs})
	switch over := (*http.MaxBytesError)(nil); {
	case err == nil || errors.Is(err, errInputs):
		return text, err
	case errors.As(err, &over):
		return text, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return text, fmt.Errorf("the body stopped arriving for %v: %w", s.cfg.IdleTimeout, err)
	default:
		return text, badRequest(fmt.Sprintf("read the body: %v", err))
	}
}

// metered is a reader that fails with errInputs when there is no memory for
// what it reads.
type metered struct {
	r      io.Reader
	memory *semaphore.Weighted
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if !m.memory.TryAcquire(int64(n)) {
		return 0, errInputs
	}
	return n, err
}
