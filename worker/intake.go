package worker

import (
	"context"
	"sync/atomic"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// intake takes jobs from the source for lanes that wait for one. A lane waits
// only while its gate is open and withdraws when it closes, so nothing is asked
// for that could not run. Its state belongs to the goroutine of run.
type intake struct {
	source Source
	single bool // take one job in all

	requests    chan struct{}
	withdrawals chan struct{}
	jobs        chan job.Job
	ended       chan struct{} // closed when run has returned
	atHand      atomic.Int64  // jobs that have come and found no lane yet
}

func newIntake(source Source, single bool) *intake {
	return &intake{
		source: source, single: single,
		requests:    make(chan struct{}),
		withdrawals: make(chan struct{}),
		jobs:        make(chan job.Job),
		ended:       make(chan struct{}),
	}
}

// announce asks for a job that next will wait for. It returns false when there
// will be none.
func (in *intake) announce() bool {
	select {
	case in.requests <- struct{}{}:
		return true
	case <-in.ended:
		return false
	}
}

// retract takes an announcement back. A job that has come for it waits for
// whoever asks next.
func (in *intake) retract() {
	select {
	case in.withdrawals <- struct{}{}:
	case <-in.ended:
	}
}

// next waits for a job while gate is open, one that was announced or another. It
// returns false when ctx has ended or the gate will never open again.
func (in *intake) next(ctx context.Context, gate *health.Gate, announced bool) (job.Job, bool) {
	for {
		open, leave, err := gate.Enter(ctx)
		if err != nil {
			if announced {
				return in.withdraw()
			}
			return job.Job{}, false
		}
		j, ok := in.ask(open, gate, announced)
		announced = false
		leave()
		if ok {
			return j, true
		}
	}
}

// ask asks for one job, and withdraws when open ends first, or gate is held.
func (in *intake) ask(open context.Context, gate *health.Gate, announced bool) (job.Job, bool) {
	if !announced {
		select {
		case in.requests <- struct{}{}:
		case <-open.Done():
			return job.Job{}, false
		}
	}
	for changed := gate.Changed(); gate.Err() == nil && open.Err() == nil; changed = gate.Changed() {
		select {
		case j := <-in.jobs:
			return j, true
		case <-changed:
		case <-open.Done():
		}
	}
	return in.withdraw()
}

// withdraw takes a request back, unless a job was handed out for it.
func (in *intake) withdraw() (job.Job, bool) {
	select {
	case j := <-in.jobs: // handed out in the same moment
		return j, true
	case in.withdrawals <- struct{}{}:
		return job.Job{}, false
	case <-in.ended:
		return job.Job{}, false
	}
}

// taken is what one call of Source.Take returned.
type taken = touched[[]job.Job]

// run serves lanes until ctx ends and every job that was handed out has found
// a lane, or until the single job was taken. While no lane waits the source is
// not asked. Run returns the source's error, if that ended it, and leaves no call
// of the source behind. Jobs that find no lane before drained ends come back.
func (in *intake) run(ctx, drained context.Context) (left []job.Job, err error) {
	defer close(in.ended)
	var (
		waiting int
		backlog []job.Job
		asked   bool // a call of Take is under way
		closed  bool // there will be no further call
		answers = make(chan taken)
		done    = ctx.Done()
		// withdraw ends the call that is under way.
		withdraw = func() {}
	)
	for {
		if !asked && !closed && waiting > len(backlog) {
			asked = true
			n := waiting - len(backlog)
			if in.single {
				n = 1
			}
			withdraw = in.take(ctx, n, answers)
		}
		if closed && !asked && len(backlog) == 0 {
			return nil, err
		}
		var hand chan job.Job
		var next job.Job
		if len(backlog) > 0 && waiting > 0 {
			hand, next = in.jobs, backlog[0]
		}
		in.atHand.Store(int64(len(backlog)))
		select {
		case <-in.requests:
			waiting++
		case <-in.withdrawals:
			waiting--
			if waiting <= len(backlog) {
				withdraw()
			}
		case hand <- next:
			waiting--
			backlog = backlog[1:]
		case t := <-answers:
			asked = false
			jobs, terr := t.result()
			backlog = append(backlog, jobs...)
			if in.single && len(jobs) > 0 || terr != nil {
				closed = true
			}
			if terr != nil {
				err = terr
			}
		case <-done:
			closed, done = true, nil
		case <-drained.Done():
			if asked { // it was told to end, and may bring jobs all the same
				withdraw()
				t := <-answers
				backlog = append(backlog, t.value...)
			}
			return backlog, err
		}
	}
}

// take calls the source once. Its answer has no error if it was told to end.
func (in *intake) take(ctx context.Context, n int, answers chan<- taken) (withdraw context.CancelFunc) {
	ctx, withdraw = context.WithCancel(ctx)
	go func() {
		defer withdraw()
		t := caught(func() ([]job.Job, error) { return in.source.Take(ctx, n) })
		if ctx.Err() != nil {
			t.err = nil
		}
		answers <- t
	}()
	return withdraw
}
