package worker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// life is one job, from taking to the end of its delivery. It belongs to its
// lane until execute returns, and to its delivery from then on.
type life struct {
	w    *Worker
	slot *Slot // nil for a job that never found a lane
	job  job.Job
	log  *zap.Logger
	// ctx ends when the job must: canceled, out of time, or shutdown. The cause
	// says which.
	ctx    context.Context
	before <-chan struct{} // closed when another life of the same job has ended, nil without one
	ends   []func()        // what to undo at the end, last first

	// The lane is told when the job's prompt is with ComfyUI, when the job seems to
	// end well, and when it has to be attempted again. All are nil for a job without
	// a lane.
	submitted, nearEnd, again func()

	attempt  int // of which begun
	tried    []*attempt
	poisoned bool   // the last one may have poisoned its process
	wanted   wanted // of the outputs
	output   *job.Output
	bucket   Store // of the job's own, nil if it brought none
	failure  *job.Failure
	ended    error        // what failure was made of
	reached  job.Progress // told last while an attempt executed
	timings  job.Timings

	received int64 // bytes of input files
}

// begin makes the life of a job that was just taken.
func (w *Worker) begin(ctx context.Context, slot *Slot, j job.Job) *life {
	w.active.Add(1)
	l := &life{w: w, slot: slot, job: j, log: w.log.With(zap.String("job", j.ID))}
	l.atEnd(func() { w.active.Add(-1) })
	before, leave := w.namesakes.join(j.ID)
	l.before = before
	l.atEnd(leave)
	if slot != nil && slot.users.Acquire(context.WithoutCancel(ctx), 1) == nil { // waits for a restart at most
		l.atEnd(func() { slot.users.Release(1) })
	}
	w.cfg.Observe(Event{Job: j.ID, Phase: PhaseTake, At: time.Now()})

	limit := j.Timeout
	if limit == 0 {
		limit = w.cfg.JobTimeout
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, &timeoutError{limit: limit})
		l.atEnd(cancel)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	l.ctx = ctx
	l.atEnd(func() { cancel(nil) })
	if j.Canceled != nil {
		w.deliveries.Go(func() {
			select {
			case <-j.Canceled:
				cancel(errCanceled)
			case <-ctx.Done():
			}
		})
	}
	return l
}

func (l *life) atEnd(f func()) { l.ends = append(l.ends, f) }

// execute brings the job to the point where its outputs, or its failure, are
// known.
func (l *life) execute() {
	if err := contained(l.log, "a job ran", l.attemptAll); err != nil {
		l.fail(err)
	}
}

// attemptAll is execute without a net.
func (l *life) attemptAll() {
	l.log.Info("job taken")
	if err := l.waitForNamesake(); err != nil {
		l.fail(err)
		return
	}
	in, failure := parseInput(l.job.Input, l.w.cfg.Fetch)
	if failure != nil {
		l.failure, l.ended = failure, failure
		return
	}
	l.wanted = in.wanted
	if in.apiKey != "" {
		l.atEnd(l.w.cfg.Guard(in.apiKey))
	} else {
		in.apiKey = l.w.cfg.OrgAPIKey
	}
	if l.failure = l.openBucket(in.bucket); l.failure != nil {
		return
	}
	if err := l.download(in.files); err != nil {
		l.fail(err)
		return
	}
	for _, f := range in.files {
		l.received += f.content.Size
	}
	for {
		l.attempt++
		err := l.try(in, l.attempt)
		if err == nil {
			return
		}
		var lost *lostError
		again := errors.As(err, &lost)
		if again && l.w.hurried() { // that took the process, and tells us only now
			err, again = errShutdown, false
		}
		if !again || l.attempt == attempts {
			l.fail(err)
			return
		}
		if l.again != nil {
			l.again()
		}
		l.log.Warn("job lost its ComfyUI and will run again", zap.NamedError("reason", lost.reason))
	}
}

// fail makes err the job's outcome.
func (l *life) fail(err error) {
	l.output = nil
	var late *timeoutError
	if errors.As(err, &late) {
		err = &timeoutError{late.limit, l.reached}
	}
	l.failure, l.ended = blame(err, l.attempt), err
	l.restoreNames()
}

// enter tells that the job has come to a phase.
func (l *life) enter(phase string, attempt int) {
	l.w.cfg.Observe(Event{Job: l.job.ID, Phase: phase, Attempt: attempt, At: time.Now(), Elapsed: time.Since(l.job.Taken)})
	l.w.cfg.Source.Progress(l.job.ID, job.Progress{Phase: phase, Attempt: attempt})
}

// deliver stores the files, reports the result, and removes what the job left.
func (l *life) deliver(ctx context.Context) {
	defer func() {
		for i := len(l.ends) - 1; i >= 0; i-- {
			l.ends[i]()
		}
	}()
	if err := contained(l.log, "a job was delivered", func() { l.storeAndReport(ctx) }); err != nil {
		l.fail(err)
		l.report(ctx)
	}
}

func (l *life) storeAndReport(ctx context.Context) {
	l.enter(PhaseDeliver, l.attempt)
	start := time.Now()
	if l.failure == nil {
		l.convert(ctx)
		if err := l.store(ctx); err != nil {
			l.fail(err)
		}
	}
	l.timings.Deliver = time.Since(start)
	l.report(ctx)
	l.cleanUp(ctx)
}

// report tells the source how the job ended, whether that was well or not.
func (l *life) report(ctx context.Context) {
	l.failure = scrubbed(l.failure, l.w.cfg.Scrub)
	r := job.Result{
		ID: l.job.ID, Output: l.output, Failure: l.failure, Timings: l.timings,
		Refresh: l.w.cfg.Refresh == RefreshPod,
	}
	err := l.w.cfg.Source.Done(ctx, r)
	l.tell(r, err)
	if err != nil && ctx.Err() != nil || l.failure != nil && l.failure.Cause == CauseShutdown {
		l.w.abandoned.Store(true)
	}
}

// tell logs the end of the job, once, and lets observers know.
func (l *life) tell(r job.Result, undelivered error) {
	elapsed := zap.Duration("elapsed", time.Since(l.job.Taken))
	switch {
	case undelivered != nil:
		l.log.Error("result not delivered", zap.Error(undelivered), elapsed)
	case r.Failure != nil:
		l.log.Warn("job failed", zap.String("cause", r.Failure.Cause), zap.String("reason", r.Failure.Message),
			zap.Int("attempt", l.attempt), elapsed)
	default:
		l.log.Info("job completed", zap.Int("files", len(r.Output.Files)), zap.Int64("bytes", totalSize(r.Output.Files)),
			zap.Int("attempt", l.attempt), elapsed)
	}
	l.w.cfg.Observe(Event{
		Job: r.ID, Phase: PhaseDone, Attempt: l.attempt, At: time.Now(),
		Elapsed: time.Since(l.job.Taken), Received: l.received, Result: &r, Undelivered: undelivered,
	})
}
