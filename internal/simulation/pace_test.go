package simulation

import (
	"slices"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// Bounds of how long things may take that nothing keeps from happening. In virtual
// time the program itself takes none.
const (
	deathKnown  = 50 * time.Millisecond // from the end of a process until it is known
	probeWithin = 60 * time.Millisecond // from the first answer of a ComfyUI until the gate opens
	readyToJob  = 60 * time.Millisecond // from there until a job goes on that waits
	endNoticed  = 2100 * time.Millisecond
)

// judgePace judges how soon it went on after each death, boot and end of a prompt.
func (r *run) judgePace(ran map[string][]execution) {
	for _, p := range r.pods {
		if !p.killed.IsZero() {
			continue
		}
		for _, in := range p.instances {
			r.judgeRestarts(in)
			r.judgeBoots(in)
		}
		if len(p.instances) == 1 && !r.plan.setup.prefetch {
			r.judgeSecondAttempts(p)
		}
	}
	for job, all := range ran {
		for _, x := range all {
			r.judgeNotice(job, x)
		}
	}
}

// trips is the time that requests need, so many to and fro.
func (r *run) trips(n int) time.Duration { return time.Duration(2*n) * r.plan.setup.latency }

// judgeRestarts looks whether each process was started again when it was due: at
// once after a first failure, later and later after the next ones.
func (r *run) judgeRestarts(in *instance) {
	policy := supervisor.DefaultPolicy()
	dark := r.hasFiredAny("comfy dark") // then the event socket of before is closed late
	var exits []supervisor.Exit
	var due time.Duration
	var since time.Time
	for _, h := range r.events {
		switch {
		case h.in != in:
		case h.exit != nil && (len(exits) == 0 || exits[len(exits)-1].Incarnation < h.exit.Incarnation):
			exits = append(exits, *h.exit)
			if late := h.at.Sub(h.exit.At); late > deathKnown && !dark {
				r.violation("", "%s ended, and that was known %v later", in.name, late)
			}
			since = time.Time{}
			if h.phase == string(supervisor.StateBackoff) {
				due, _ = policy.Next(exits)
				since = h.at
			}
		case h.phase == string(supervisor.StateRunning) && !since.IsZero():
			slack := time.Duration(float64(due) * policy.Jitter)
			wished := h.detail != "backoff over" // for a refresh nobody waits
			if waited := h.at.Sub(since); waited < due-slack && !wished || waited > due+slack+time.Millisecond {
				r.violation("", "%s was started %v after its end, due were %v give or take %v", in.name, waited, due, slack)
			}
			since = time.Time{}
		}
	}
}

// judgeBoots looks whether a ComfyUI that answers is let do its work at once.
func (r *run) judgeBoots(in *instance) {
	if r.hasFiredAny("comfy", "hang", "GET", "history", "teardown", "ws") {
		return
	}
	var listens time.Time
	for _, h := range r.events {
		switch {
		case h.in != in:
		case h.phase == listening:
			listens = h.at
		case h.phase == gateOpen && !listens.IsZero():
			if late := h.at.Sub(listens); late > probeWithin+r.trips(2) {
				r.violation("", "%s answers, and its gate opened %v later", in.name, late)
			}
			listens = time.Time{}
		case h.exit != nil:
			listens = time.Time{}
		}
	}
}

// judgeSecondAttempts looks whether a job that lost its ComfyUI goes on as soon as
// the next one is ready.
func (r *run) judgeSecondAttempts(p *pod) {
	if r.hasFiredAny("comfy", "hang", "GET", "history", "POST", "prompt", "worker", "ws", "teardown") {
		return
	}
	var opened, busy time.Time
	last := make(map[string]time.Time) // event of each job
	for _, h := range r.events {
		switch {
		case h.in == p.instances[0] && h.phase == gateOpen:
			opened = h.at
		case h.pod != p || h.job == "":
		case h.phase == worker.PhasePrepare && h.attempt > 1 && last[h.job].Before(opened) && busy.Before(opened):
			if late := h.at.Sub(opened); late > readyToJob {
				r.violation(h.job, "%s is ready, and %s went on %v later", p.name, h.job, late)
			}
			fallthrough
		default:
			last[h.job] = h.at
			if h.phase == worker.PhasePrepare {
				busy = h.at // it may have had to wait for that one
			}
		}
	}
}

// judgeNotice looks whether the end of a prompt was noticed in time, whatever
// became of the news of it.
func (r *run) judgeNotice(job string, x execution) {
	if x.Outcome != comfytest.Success || !x.pod.killed.IsZero() ||
		r.hasFiredAny("comfy", "hang", "GET", "POST /prompt", "history", "prompt late-history", "prompt no-history", "teardown") {
		return
	}
	has := func(is func(j plannedJob) bool) bool { return slices.ContainsFunc(r.plan.jobs, is) }
	if r.plan.setup.prefetch && has(func(j plannedJob) bool { return j.kind == "hold" }) || // it may come next, and holds the interpreter
		has(func(j plannedJob) bool { return j.id == job && j.kind == "poison bad_ui" }) { // its history cannot be told
		return
	}
	for _, h := range r.events {
		switch {
		case h.at.Before(x.Ended):
		case h.in == x.in && h.exit != nil, h.job == job && h.pod == x.pod && h.phase != worker.PhaseDeliver:
			return // the process was lost before
		case h.job == job && h.pod == x.pod:
			if late := h.at.Sub(x.Ended); late > endNoticed+r.trips(6) {
				r.violation(job, "the prompt of %s ended, and that was noticed %v later", job, late)
			}
			return
		}
	}
}

// hasFiredAny tells whether a fault has happened whose name begins with one of
// these words.
func (r *run) hasFiredAny(words ...string) bool {
	return slices.ContainsFunc(r.fired, func(f *firing) bool {
		return f.acted != nil && slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(f.fault.name, w) })
	})
}
