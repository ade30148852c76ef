package simulation

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// endings are the causes that the end of the pod which told the outcome makes
// lawful.
func (r *run) endings(q runpodtest.Job) (causes []string) {
	for _, p := range r.pods {
		if p.name != q.Outcome.Worker {
			continue
		}
		if !p.stopped.IsZero() || !p.killed.IsZero() {
			causes = append(causes, worker.CauseShutdown)
		}
		for _, in := range p.instances {
			if gaveUp(in.ended) {
				causes = append(causes, worker.CauseBoot, worker.CauseShutdown, worker.CausePoisoned)
			}
		}
	}
	return causes
}

func gaveUp(err error) bool {
	return errors.Is(err, supervisor.ErrCrashLoop) || errors.Is(err, errHost)
}

// judgePod judges how a pod lived and ended.
func (r *run) judgePod(p *pod) {
	if !p.killed.IsZero() {
		return
	}
	say := func(format string, args ...any) { r.violation("", p.name+" "+format, args...) }
	begun := p.stopped
	if !begun.IsZero() && p.ended.Sub(begun) > stopBudget {
		say("needed %v to stop", p.ended.Sub(begun))
	}
	switch {
	case errors.Is(p.verdict, errStopSignal):
		if p.drained != nil && !errors.Is(p.drained, worker.ErrAbandoned) && p.drained.Error() != "context canceled" {
			say("drained as %v", p.drained)
		}
	case errors.Is(p.verdict, worker.ErrRefresh) && r.plan.setup.refresh == worker.RefreshPod:
	case gaveUp(p.verdict):
		if !r.mayGiveUp(p) {
			say("gave up: %v", p.verdict)
		}
	default:
		say("ended by itself: %v", p.verdict)
	}
	for _, j := range r.plan.jobs {
		r.judgeDebt(p, r.queue.Job(j.id))
	}
	for _, in := range p.instances {
		r.judgeExits(p, in)
	}
}

// judgeDebt judges whether a pod that ended in order has answered a job that it
// was given, or else says that it has not.
func (r *run) judgeDebt(p *pod, j runpodtest.Job) {
	given := slices.ContainsFunc(j.Handouts, func(h runpodtest.Handout) bool {
		return h.Worker == p.name && !h.Torn && !r.overtaken(p, h.At)
	})
	told := slices.ContainsFunc(j.Posts, func(x runpodtest.Post) bool { return x.Worker == p.name && x.Verdict != "rejected" })
	if !given || told || r.hasFired(func(x excuse) bool { return x.mute }) {
		return
	}
	if !errors.Is(p.drained, worker.ErrAbandoned) {
		r.violation(j.ID, "%s ended as if nothing was left, and never told what became of %s", p.name, j.ID)
	}
	if !r.hasFired(func(x excuse) bool { return x.untold }) {
		r.violation(j.ID, "%s never told what became of %s, and nothing kept it from that", p.name, j.ID)
	}
}

// mayGiveUp tells whether the pod had reason to end for good: two things that look
// like the host's fault, or a crash loop that is one.
func (r *run) mayGiveUp(p *pod) bool {
	n := 0
	for _, j := range r.plan.jobs {
		if j.spoils {
			n++
		}
	}
	for _, f := range r.fired {
		if f.acted != nil && f.fault.excuse.condemns {
			n++
		}
	}
	return n >= 2 || slices.ContainsFunc(p.instances, r.crashLoops)
}

// crashLoops tells whether the last starts of a ComfyUI that fail a pod all ended by
// themselves, or had to be ended.
func (r *run) crashLoops(in *instance) bool {
	ailing, last := 0, 0
	for _, h := range r.events {
		switch {
		case h.in != in:
		case h.phase == gateOpen:
			ailing = 0
		case h.exit != nil && h.exit.Incarnation > last:
			last = h.exit.Incarnation
			if ailing++; h.exit.Stopped != "" && !r.mayCondemn() {
				ailing = 0
			}
		}
	}
	return ailing >= supervisor.DefaultPolicy().Boots
}

// overtaken tells whether the answer to a poll was on its way when the pod closed
// that poll, as it does 2 s after it has no ComfyUI or SIGTERM, or at once in a
// hurry. Such a job comes again when its lease is over.
func (r *run) overtaken(p *pod, handout time.Time) bool {
	return slices.ContainsFunc(p.hangups, func(closed time.Time) bool {
		return !handout.After(closed) && closed.Sub(handout) <= r.plan.setup.latency
	})
}

// judgeExits looks why processes were ended that had not ended by themselves.
func (r *run) judgeExits(p *pod, in *instance) {
	for _, h := range r.events {
		if h.in != in || h.phase != string(supervisor.StateBackoff) || h.exit == nil || h.exit.Stopped == "" || h.exit.Planned {
			continue
		}
		if !r.mayCondemn() {
			r.violation("", "%s was given up, and nothing ailed it: %s", in.name, h.exit.Stopped)
		}
	}
}

// mayCondemn tells whether the plan has anything for which a process that seems
// to run may be given up.
func (r *run) mayCondemn() bool {
	for _, j := range r.plan.jobs {
		if j.spoils || j.deaths > 0 {
			return true
		}
	}
	probes := 0
	for _, f := range r.fired {
		if strings.HasPrefix(f.fault.name, "GET /prompt") {
			probes += f.count()
		}
	}
	return probes >= liveFails || r.hasFired(func(x excuse) bool { return x.condemns })
}

// hasFired tells whether a fault has happened whose excuse is of a sort.
func (r *run) hasFired(is func(excuse) bool) bool {
	return slices.ContainsFunc(r.fired, func(f *firing) bool { return f.acted != nil && is(f.fault.excuse) })
}
