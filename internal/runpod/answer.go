package runpod

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// encode writes a result as the queue wants it: output and error beside each
// other, and stopPod if the pod is to be replaced. RunPod takes an error that is
// not a string for a success, so an error is always the message, and what else
// is known of it stands in the output.
//
// With an error, the answer has everything but a body.
func encode(r job.Result) (answer, error) {
	a := answer{id: r.ID, completed: r.Output != nil, refresh: r.Refresh}
	fields := make(map[string]any)
	if r.Refresh {
		fields["stopPod"] = true
	}
	var inner *payload.Body
	var err error
	if r.Output != nil {
		inner, err = payload.Output(r.Output, r.Timings)
	} else {
		fields["error"] = cmp.Or(r.Failure.Message, r.Failure.Cause, "the job failed without a reason")
		inner, err = payload.Failure(r.Failure, r.Timings)
	}
	if err == nil {
		a.body, err = payload.Object(fields, "output", inner)
	}
	if err != nil {
		return a, fmt.Errorf("job %s: %w", r.ID, err)
	}
	return a, nil
}

// substitute returns an answer that says f in place of a. Nothing in f can keep
// it from being encoded: it has no details but numbers.
func substitute(a answer, f *job.Failure) answer {
	failed, err := encode(job.Result{ID: a.id, Failure: f, Refresh: a.refresh})
	if err != nil {
		panic(err)
	}
	return failed
}

// badRequest is the answer to a job that cannot be run as it was handed out.
func badRequest(id, fault string) answer {
	return substitute(answer{id: id}, &job.Failure{
		Kind: "input", Cause: "bad_request",
		Message: fmt.Sprintf("The queue handed out a job that cannot be run: %s. Send the job again with an input.", fault),
	})
}

// repeat is the answer to a job whose result is known.
func repeat(id string, body []byte) answer {
	return answer{id: id, completed: true, body: payload.Raw(job.Content{
		Size: int64(len(body)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	})}
}

// explain returns the failure to post in place of a result that the queue will
// never take, or that cannot be read. It returns nil if err is about neither.
func explain(err error, size int64) *job.Failure {
	status := statusOf(err)
	switch {
	case judge(status) == refused:
		return &job.Failure{
			Kind: "delivery", Cause: "result_rejected",
			Message: fmt.Sprintf("The queue refused the result: %d bytes were answered %d %s. "+
				"Set BUCKET_ENDPOINT_URL, so that files are stored in S3 and the result holds links, or let the workflow make smaller files.",
				size, status, http.StatusText(status)),
			Details: map[string]int64{"status": int64(status), "bytes": size},
		}
	case errors.Is(err, errUnreadable):
		return &job.Failure{
			Kind: "delivery", Cause: "result_unreadable", Retryable: true,
			Message: "The files of the result could not be read while it was posted. Look whether something removes or changes files in ComfyUI's output directory.",
		}
	}
	return nil
}
