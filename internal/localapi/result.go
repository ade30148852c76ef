package localapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// outcome turns what the worker tells of a job into how the job ended. With an
// error the outcome is that of a job whose result is lost.
func (s *Server) outcome(ctx context.Context, r job.Result) (outcome, error) {
	if f := r.Failure; f != nil {
		if f.Cause == causeTimeout {
			return ended(timedOut, f), nil
		}
		return ended(failed, f), nil
	}
	body, err := payload.Output(r.Output)
	if err != nil {
		return lost(err), err
	}
	d, err := s.spool.put(ctx, body)
	if err != nil {
		err = fmt.Errorf("keep result of job %s: %w", r.ID, err)
		return lost(err), err
	}
	return outcome{state: completed, output: d}, nil
}

// causeTimeout is the cause of a failure that is RunPod's TIMED_OUT.
const causeTimeout = "timeout"

// ended returns the outcome of a job that f kept from completing.
func ended(s state, f *job.Failure) outcome {
	body, err := payload.Failure(f)
	if err != nil {
		plain := *f
		plain.Details = err.Error()
		body, _ = payload.Failure(&plain)
	}
	d, err := inMemory(context.Background(), body)
	if err != nil { // a failure holds no files that could be unreadable
		return outcome{state: s, failure: f.Message}
	}
	return outcome{state: s, failure: f.Message, output: d}
}

// lost returns the outcome of a job whose result could not be kept.
func lost(err error) outcome {
	f := &job.Failure{Kind: "delivery", Cause: "output_fetch_failed", Retryable: true}
	f.Message = err.Error() + "; retry the job"
	if errors.Is(err, errTooLarge) {
		f.Cause, f.Retryable = "result_too_large", false
		f.Message = err.Error() + "; store outputs in S3 to get URLs instead"
	}
	return ended(failed, f)
}
