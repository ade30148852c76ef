package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// bucketLimit is the longest that a job's own bucket may take for one file.
// Nobody here chose that store, and one that takes a byte now and then would
// hold up the deliveries of others for ever.
const bucketLimit = 30 * time.Minute

// A Bucket is where a job has its files stored, as the job brought it.
type Bucket struct {
	// Field is where the job has it, s3Config or input.s3Config. Errors begin
	// with it.
	Field string `json:"-"`

	EndpointURL  string `json:"endpointUrl"`
	AccessID     string `json:"accessId"`
	AccessSecret string `json:"accessSecret"`
	Name         string `json:"bucketName"` // "" if the endpoint names it
}

// parseBucket reads the s3Config of a job. One that is null or has nothing in it
// is none: some clients always send the object. Its error names the fields at
// fault and repeats no value.
func parseBucket(field string, raw json.RawMessage) (*Bucket, error) {
	if isNull(raw) {
		return nil, nil
	}
	b := Bucket{Field: field}
	if err := json.Unmarshal(raw, &b); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return nil, fmt.Errorf("%s.%s is not a string", field, wrong.Field)
		}
		return nil, fmt.Errorf(`%s is not an object: want {"endpointUrl": "https://...", "accessId": "...", "accessSecret": "...", "bucketName": "..."}`, field)
	}
	if b == (Bucket{Field: field}) {
		return nil, nil
	}
	var missing []string
	for _, f := range []struct{ name, value string }{
		{"endpointUrl", b.EndpointURL}, {"accessId", b.AccessID}, {"accessSecret", b.AccessSecret},
	} {
		if strings.TrimSpace(f.value) == "" {
			missing = append(missing, field+"."+f.name)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("%s: missing, a bucket of the job's own needs its address and both keys, which are not kept when the pod restarts", strings.Join(missing, ", "))
	}
	return &b, nil
}

// openBucket makes the bucket that the job brought, beside its input or inside
// it, the place of its files. Its keys are kept out of the log until the job has
// ended.
func (l *life) openBucket(inside *Bucket) *job.Failure {
	b, err := parseBucket("s3Config", l.job.S3Config)
	switch {
	case err != nil:
		return badInput(err.Error())
	case b == nil:
		b = inside
	}
	if b == nil {
		return nil
	}
	l.atEnd(l.w.cfg.Guard(b.AccessID))
	l.atEnd(l.w.cfg.Guard(b.AccessSecret))
	if l.w.cfg.Bucket == nil {
		return badInput(b.Field + ": jobs with a bucket of their own are not taken here")
	}
	store, closed, err := l.w.cfg.Bucket(*b)
	if err != nil {
		return badInput(err.Error())
	}
	l.atEnd(closed)
	l.bucket = patientStore{store}
	return nil
}

// patientStore is a job's own bucket, which is waited for no longer than
// bucketLimit.
type patientStore struct{ Store }

// Put stores a file as the Store does, in bucketLimit at most.
func (s patientStore) Put(ctx context.Context, jobID string, index int, f job.File) (job.File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, bucketLimit, fmt.Errorf("the job's bucket took longer than %v", bucketLimit))
	defer cancel()
	return s.Store.Put(ctx, jobID, index, f)
}
