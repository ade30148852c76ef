package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// outcome turns what the worker tells of a job into how the job ended. With an
// error the outcome is that of a job whose result is lost.
func (s *Server) outcome(ctx context.Context, r job.Result) (outcome, error) {
	if f := r.Failure; f != nil {
		o := ended(failed, f, r.Timings)
		if f.Cause == causeTimeout {
			o.state = timedOut
		}
		return o, nil
	}
	body, err := payload.Output(r.Output, r.Timings)
	if err != nil {
		return lost(err), err
	}
	d, err := s.spool.put(ctx, body)
	if err != nil {
		err = fmt.Errorf("keep result of job %s: %w", r.ID, err)
		return lost(err), err
	}
	return outcome{
		state: completed, output: d, timings: r.Timings,
		files: outputFiles(r.ID, r.Output.Files, body), values: valuesOf(r.Output),
	}, nil
}

// causeTimeout is the cause of a failure that is RunPod's TIMED_OUT.
const causeTimeout = "timeout"

// causeShutdown is that of a job which did not end before the pod had to.
const causeShutdown = "worker_shutdown"

// maxValues is how large the values of a job may be for a list of jobs.
const maxValues = 256 * kilobyte

// valuesOf are what nodes told beside files, nil if that is nothing or too much.
func valuesOf(o *job.Output) json.RawMessage {
	if len(o.Values) == 0 {
		return nil
	}
	text, err := json.Marshal(o.Values)
	if err != nil || len(text) > maxValues {
		return nil
	}
	return text
}

// ended returns the outcome of a job that f kept from completing, after phases
// that took that long.
func ended(s state, f *job.Failure, t job.Timings) outcome {
	o := outcome{state: s, failure: f.Message, cause: f.Cause, attempts: f.Attempts, timings: t}
	plain := *f
	if f.Details != nil {
		text, err := json.Marshal(f.Details)
		if err != nil {
			text, _ = json.Marshal(err.Error()) // a text can be written
		}
		o.details, plain.Details = text, json.RawMessage(text)
	}
	body, err := payload.Failure(&plain, t)
	if err != nil { // all that it is made of can be written
		return o
	}
	o.output, _ = inMemory(context.Background(), body) // nor are there files that could be unreadable
	return o
}

// lost returns the outcome of a job whose result could not be kept.
func lost(err error) outcome {
	f := &job.Failure{Kind: "delivery", Cause: "output_fetch_failed", Retryable: true}
	f.Message = err.Error() + "; retry the job"
	if errors.Is(err, errTooLarge) {
		f.Cause, f.Retryable = "result_too_large", false
		f.Message = err.Error() + "; store outputs in S3 to get URLs instead"
	}
	return ended(failed, f, job.Timings{})
}
