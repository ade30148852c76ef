package worker

import (
	"context"
	"sync"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// takeJobs runs the intake. A panic there ends the taking of jobs and nothing
// that is done with those at hand.
func (w *Worker) takeJobs(ctx, drained context.Context) (left []job.Job, err error) {
	if fault := contained(w.log, "jobs were taken", func() { left, err = w.intake.run(ctx, drained) }); fault != nil {
		return nil, fault
	}
	return left, err
}

// lanesMax is how many lanes a slot has at most.
const lanesMax = 2

func (w *Worker) lanesPerSlot() int {
	if w.cfg.Prefetch && w.cfg.Refresh == RefreshNone {
		return lanesMax
	}
	return 1
}

// drain bounds the shutdown: jobs end Drain after ctx does, deliveries Deliver
// later, of which the last third is not for files, and all at once when there is
// a hurry.
func (w *Worker) drain(ctx context.Context, finished <-chan struct{}, abandon context.CancelCauseFunc, endUploads, giveUp context.CancelFunc) {
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	limit := w.cfg.Deliver
	if hurried := wait(w.cfg.Drain, finished, w.cfg.Hurry); hurried {
		limit = min(limit, hurriedDelivery)
	}
	abandon(errShutdown)
	wait(limit-limit/3, finished, nil)
	endUploads()
	wait(limit/3, finished, nil)
	giveUp()
}

// hurried tells whether the stop must be immediate.
func (w *Worker) hurried() bool {
	select {
	case <-w.cfg.Hurry:
		return true
	default:
		return false
	}
}

// hurriedDelivery is what is left for telling a job's failure when the stop
// must be immediate.
const hurriedDelivery = 700 * time.Millisecond

// wait waits for d, for finished, or for hurry, and tells whether it was hurry.
func wait(d time.Duration, finished, hurry <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-finished:
	case <-hurry:
		return true
	}
	return false
}

// A lane does one job after another. Before it asks for a job it takes one of its
// two tokens, which the job's delivery gives back: so one result may wait for its
// delivery while the next job runs, and no third job is taken while two wait.
type lane struct {
	w      *Worker
	slot   *Slot
	tokens chan struct{}

	announced bool   // a job was asked for, and its token taken
	letGo     func() // lets the last job's delivery begin, if it does not yet
}

// run does jobs until waiting ends.
func (n *lane) run(waiting, jobs, deliveries context.Context) {
	w := n.w
	for {
		j, ok := n.next(waiting)
		if !ok {
			return
		}
		l := w.begin(jobs, n.slot, j)
		l.nearEnd, l.again, l.submitted = n.announce, n.retract, n.letGo
		l.execute()
		n.letGo()
		if len(l.tried) > 0 {
			l.slot.wear.ran() // where it ran last
		}
		ended := l.ended // l belongs to its delivery from here on
		if ended != nil {
			n.retract()
		}
		delivered := w.deliverBeside(deliveries, l, n.hold(), func() { <-n.tokens })
		if w.cfg.Refresh == RefreshProcess {
			<-delivered
			n.slot.Restart("REFRESH_WORKER asks for a fresh ComfyUI after each job")
		}
		w.heal(waiting, n.slot, ended)
	}
}

// heldMost is how long a delivery waits for the prompt of the next job at most: that job
// may have files to download.
const heldMost = 20 * time.Millisecond

// hold returns a channel that is closed when a delivery may begin. Where the next job
// has come already, that is when its prompt is with ComfyUI, or it has no more use for
// it: the delivery of large files would keep the processors busy, and ComfyUI idle.
func (n *lane) hold() <-chan struct{} {
	begin := make(chan struct{})
	n.letGo = sync.OnceFunc(func() { close(begin) })
	if !n.announced || n.w.intake.atHand.Load() == 0 {
		n.letGo()
	}
	return begin
}

// announce asks for the next job when the one at hand is about to end, so that it
// is here when ComfyUI is free. Not where it might have to wait: for a delivery, or
// for another process.
func (n *lane) announce() {
	if n.announced || n.w.cfg.Prefetch || n.w.cfg.Refresh != RefreshNone || !n.w.cfg.Wear.none() {
		return
	}
	select {
	case n.tokens <- struct{}{}:
	default:
		return
	}
	if n.announced = n.w.intake.announce(); !n.announced {
		<-n.tokens
	}
}

// retract takes back what announce asked for: the job at hand needs longer, or
// something is wrong. A job that has come already is the next lane's.
func (n *lane) retract() {
	if !n.announced {
		return
	}
	n.announced = false
	n.w.intake.retract()
	<-n.tokens
}

// next waits for a job.
func (n *lane) next(ctx context.Context) (job.Job, bool) {
	announced := n.announced
	n.announced = false
	if !announced {
		n.tokens <- struct{}{}
	}
	return n.w.next(ctx, n.slot, announced)
}

// deliverBeside delivers a job's result beside whatever comes next, when begin is
// closed or soon in any case; nil is no reason to wait. When the delivery is over it
// calls after and closes the channel that it returned.
func (w *Worker) deliverBeside(ctx context.Context, l *life, begin <-chan struct{}, after func()) <-chan struct{} {
	delivered := make(chan struct{})
	w.deliveries.Go(func() {
		defer close(delivered)
		defer after()
		if begin != nil {
			wait(heldMost, begin, ctx.Done())
		}
		_ = contained(l.log, "a job was brought to its end", func() { l.deliver(ctx) })
	})
	return delivered
}
