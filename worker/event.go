package worker

import (
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// The phases of a job, in their order. A second attempt goes back to prepare.
const (
	PhaseTake    = "take"
	PhasePrepare = "prepare"
	PhaseExecute = "execute"
	PhaseDeliver = "deliver"
	PhaseDone    = "done"
)

// An Event tells that a job has come to a phase, or has moved on in one.
type Event struct {
	Job     string
	Phase   string
	Attempt int
	At      time.Time
	// Elapsed is the time since the job was taken.
	Elapsed time.Duration
	// Received is how many bytes of input files the job brought, in PhaseDone.
	Received int64
	// Progress is set while the job executes, nil otherwise.
	Progress *job.Progress
	// Result is set in PhaseDone, nil before.
	Result *job.Result
	// Undelivered is why the result never arrived, nil if it did.
	Undelivered error
}
