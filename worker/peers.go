package worker

import (
	"context"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A Source hands out jobs and takes their results: RunPod's queue, or the
// local API. Its methods are called from several goroutines.
type Source interface {
	// Take waits for jobs and returns between 1 and n of them. When ctx ends it
	// may still return jobs that were handed out at that moment, with a nil
	// error; else it returns the context's error. It handles its own outages:
	// any other error ends the worker.
	Take(ctx context.Context, n int) ([]job.Job, error)
	// Progress tells how far a job has come. It does not wait for the peer, and
	// may drop what it is given.
	Progress(id string, p job.Progress)
	// Done delivers a result and returns when it has arrived for good, or when
	// it never will. The files of the result are read during the call and not
	// after it, as often as retries need.
	Done(ctx context.Context, r job.Result) error
}

// A Store keeps the files of results.
type Store interface {
	// Put stores the content of f and returns f as the result lists it: with a
	// URL, or unchanged when its bytes are to travel inside the result.
	// Job is the id of the job, index the place of the file among its files.
	Put(ctx context.Context, job string, index int, f job.File) (job.File, error)
}
