package runpod

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// idLimit is the longest job id, in bytes.
const idLimit = 1 << 10

// A handout is one entry of the answer to a take. Job.ID is empty if the entry
// has no usable id; fault says why the entry is no job, "" if it is one.
type handout struct {
	job   job.Job
	fault string
	// shape describes an entry without an id to the log: names and sizes, no values.
	shape string
}

// decode reads the answer to a take, one job or a list of them. An error means
// that the answer as a whole cannot be read. It looks into no input.
func decode(body []byte) ([]handout, error) {
	body = bytes.TrimSpace(body)
	if !json.Valid(body) {
		return nil, fmt.Errorf("answered %d bytes that are no JSON", len(body))
	}
	entries := []json.RawMessage{body}
	if body[0] == '[' {
		if err := json.Unmarshal(body, &entries); err != nil {
			return nil, fmt.Errorf("answered a list that cannot be read: %w", err)
		}
	}
	var found []handout
	for _, e := range entries {
		if string(e) == "null" || string(e) == "{}" {
			continue // said by some servers that have no job
		}
		found = append(found, decodeEntry(e))
	}
	return found, nil
}

func decodeEntry(entry json.RawMessage) handout {
	// A map, and not a struct, because struct fields also match names in
	// another case.
	var fields map[string]json.RawMessage
	if json.Unmarshal(entry, &fields) != nil {
		return handout{fault: "it is not an object", shape: shape(entry, nil)}
	}
	id, err := decodeID(fields["id"])
	if err != nil {
		return handout{fault: err.Error(), shape: shape(entry, fields)}
	}
	h := handout{job: job.Job{ID: id, Input: fields["input"], S3Config: fields["s3Config"], Timeout: decodeTimeout(fields)}}
	if in := fields["input"]; len(in) == 0 || string(in) == "null" {
		h.fault = "it has no input"
	}
	return h
}

// decodeID accepts what can stand in a URL, a header and a log line.
func decodeID(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", errors.New("it has no id")
	}
	var id string
	if raw[0] != '"' || json.Unmarshal(raw, &id) != nil {
		return "", errors.New("its id is not a string")
	}
	switch {
	case id == "":
		return "", errors.New("its id is empty")
	case len(id) > idLimit:
		return "", fmt.Errorf("its id is %d bytes long, %d are allowed", len(id), idLimit)
	case strings.ContainsFunc(id, unicode.IsControl):
		return "", errors.New("its id has a control character")
	}
	return id, nil
}

// timeoutLimit is the longest execution time that RunPod allows.
const timeoutLimit = 7 * 24 * time.Hour

// answerFirst is how much earlier than the platform's limit ours ends a job, a
// twentieth of the limit at most: the platform's own answer has no reason in it.
const answerFirst = 5 * time.Second

// decodeTimeout reads the job's execution limit in milliseconds, from its policy
// or from beside its input, and returns one that ends before it. What is no sensible
// limit counts as none.
func decodeTimeout(fields map[string]json.RawMessage) time.Duration {
	var policy map[string]json.RawMessage
	_ = json.Unmarshal(fields["policy"], &policy) // a policy that is no object has no limit
	for _, raw := range []json.RawMessage{policy["executionTimeout"], fields["executionTimeout"]} {
		var ms float64
		if len(raw) == 0 || json.Unmarshal(raw, &ms) != nil || ms <= 0 {
			continue
		}
		if limit := float64(timeoutLimit / time.Millisecond); ms <= limit {
			told := time.Duration(ms * float64(time.Millisecond))
			return told - min(answerFirst, told/20)
		}
	}
	return 0
}

// shapeLimit is how much of a malformed entry the log is told.
const shapeLimit = 512

func shape(entry json.RawMessage, fields map[string]json.RawMessage) string {
	s := fmt.Sprintf("%d bytes", len(entry))
	if fields != nil {
		s += fmt.Sprintf(", fields %q", slices.Sorted(maps.Keys(fields)))
	}
	if len(s) > shapeLimit {
		s = strings.ToValidUTF8(s[:shapeLimit], "") + "..."
	}
	return s
}
