package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// errJobFailed is what a run of one job ends with when the job fails.
var errJobFailed = errors.New("the job failed")

// oneJob is a source of the one job in a file. It prints the result.
type oneJob struct {
	job    job.Job
	handed chan struct{} // has room for one: the handing out
	failed bool
}

// newOneJob reads a file that holds {"input": ...}, as RunPod's SDK takes it.
func newOneJob(file string) (*oneJob, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	var request struct {
		ID       string          `json:"id"`
		Input    json.RawMessage `json:"input"`
		S3Config json.RawMessage `json:"s3Config"`
	}
	if err := json.Unmarshal(bytes.TrimSpace(raw), &request); err != nil || request.Input == nil {
		return nil, exitWith(exitConfig, fmt.Errorf(`%s holds no job: want {"input": {"workflow": {...}}}`, file))
	}
	if request.ID == "" {
		request.ID = "local_test"
	}
	return &oneJob{job: job.Job{ID: request.ID, Input: request.Input, S3Config: request.S3Config}, handed: make(chan struct{}, 1)}, nil
}

// Run has nothing to do beside the job.
func (o *oneJob) Run(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Take hands the job out once.
func (o *oneJob) Take(ctx context.Context, _ int) ([]job.Job, error) {
	select {
	case o.handed <- struct{}{}:
		o.job.Taken = time.Now()
		return []job.Job{o.job}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Progress is shown by the log.
func (o *oneJob) Progress(string, job.Progress) {}

// Done prints the result to stdout.
func (o *oneJob) Done(_ context.Context, r job.Result) error {
	fields := map[string]any{"id": r.ID, "status": "COMPLETED"}
	var output *payload.Body
	var err error
	if r.Failure != nil {
		o.failed = true
		fields["status"], fields["error"] = "FAILED", r.Failure.Message
		output, err = payload.Failure(r.Failure, r.Timings)
	} else {
		output, err = payload.Output(r.Output, r.Timings)
	}
	if err != nil {
		return err
	}
	body, err := payload.Object(fields, "output", output)
	if err != nil {
		return err
	}
	reader := body.Reader()
	defer reader.Close()
	w := bufio.NewWriter(os.Stdout)
	if _, err := io.Copy(w, reader); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	_ = w.WriteByte('\n')
	return w.Flush()
}
