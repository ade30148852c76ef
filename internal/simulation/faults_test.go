package simulation

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// A fault is something that goes wrong at its moment: a time of the run, or a
// while after a job has come to a phase.
type fault struct {
	faultKind
	at    time.Duration // of the run, or after the phase
	job   string        // whose phase, "" for a time of the run
	phase string
	// What the kind makes of these is its own affair.
	pick  int
	lasts time.Duration
}

// A faultKind is one sort of fault.
type faultKind struct {
	name   string
	weight int
	most   time.Duration // that it lasts
	s3     bool          // it needs a store
	// strike makes it happen. Acted tells, later too, how often it took effect; nil
	// is never.
	strike func(r *run, f *fault) (acted func() int)
	excuse excuse
}

// An excuse is what a fault makes lawful.
type excuse struct {
	// losses is how many attempts it may cost without the end of a process, from
	// its beginning until span after its end. Without a span it may be any time
	// after.
	losses int
	span   time.Duration
	// causes are those by which jobs in that time may fail.
	causes []string
	// cuts is how many submissions of a prompt it may spoil. The client gives a
	// prompt up after two.
	cuts int
	// delays is true if ComfyUI may look at a submission when its client has
	// submitted the prompt once more.
	delays bool
	// condemns is true if a process that seems to run may be given up for it.
	condemns bool
	// mute is true if what the queue hands out may be lost without its knowing.
	mute bool
	// untold is true if results may never reach the queue.
	untold bool
}

func once() int { return 1 }

func newFault(r *rand.Rand, kinds []faultKind, p plan) fault {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	f := fault{pick: r.IntN(1 << 20)}
	pick := r.IntN(total)
	for _, k := range kinds {
		if pick -= k.weight; pick < 0 {
			f.faultKind = k
			break
		}
	}
	if f.most > 0 {
		f.lasts = brief(r, f.most)
	}
	if r.IntN(2) == 0 {
		f.at = within(r, p.span)
		return f
	}
	phases := []string{worker.PhaseTake, worker.PhasePrepare, worker.PhaseExecute, worker.PhaseExecute, worker.PhaseDeliver, worker.PhaseDone}
	f.job, f.phase = p.jobs[r.IntN(len(p.jobs))].id, phases[r.IntN(len(phases))]
	if r.IntN(3) > 0 {
		f.at = brief(r, 2*time.Second) - time.Millisecond
	}
	return f
}

func (f *fault) String() string {
	when := f.at.String()
	if f.job != "" {
		when += " after " + f.job + " " + f.phase
	}
	return fmt.Sprintf("%s at %s, pick %d, lasts %s", f.name, when, f.pick, f.lasts)
}

func faultKinds() []faultKind {
	kinds := processFaults()
	kinds = append(kinds, bootFaults()...)
	kinds = append(kinds, socketFaults()...)
	kinds = append(kinds, comfyFaults()...)
	kinds = append(kinds, queueFaults()...)
	kinds = append(kinds, storeFaults()...)
	kinds = append(kinds, podFaults()...)
	return append(kinds, linkFaults()...)
}

// processFaults end, stop or spoil a ComfyUI that runs.
func processFaults() []faultKind {
	death := func(name string, weight int, exit supervisor.Exit) faultKind {
		return faultKind{name: name, weight: weight, strike: func(r *run, f *fault) func() int {
			return r.comfy(f).kill(exit)
		}}
	}
	process := func(name string, weight int, most time.Duration, x comfytest.Fault, e excuse) faultKind {
		x.On = "process"
		return faultKind{name: name, weight: weight, most: most, excuse: e, strike: func(r *run, f *fault) func() int {
			x := x
			x.Delay = f.lasts
			return r.comfy(f).inject(x)
		}}
	}
	return []faultKind{
		death("kill", 9, supervisor.Exit{Signal: syscall.SIGKILL, Code: -1}),
		death("segv", 3, supervisor.Exit{Signal: syscall.SIGSEGV, Code: -1}),
		death("exit 1", 3, supervisor.Exit{Code: 1}),
		death("exit 0", 3, supervisor.Exit{}),
		death("oom kill", 3, supervisor.Exit{Signal: syscall.SIGKILL, Code: -1, OOM: &supervisor.OOM{Limit: 1 << 30}}),
		process("teardown", 2, 0, comfytest.Fault{Do: "teardown", Status: 1}, excuse{}),
		process("hang", 3, 40*time.Second, comfytest.Fault{Do: "block"}, excuse{condemns: true, causes: []string{worker.CauseHung}}),
		process("worker thread ends", 2, 0, comfytest.Fault{Do: "zombie"}, excuse{condemns: true, losses: 1}),
		process("history is lost", 2, 0, comfytest.Fault{Do: "wipe"}, excuse{losses: 1, span: time.Minute}),
	}
}

// bootFaults end a ComfyUI, or not, and say how the next ones start.
func bootFaults() []faultKind {
	boots := func(name string, weight int, most time.Duration, act func(f *fault) []boot) faultKind {
		return faultKind{name: name, weight: weight, most: most, strike: func(r *run, f *fault) func() int {
			c := r.comfy(f)
			acted := c.next(act(f))
			c.kill(supervisor.Exit{Signal: syscall.SIGKILL, Code: -1})
			return acted
		}, excuse: excuse{condemns: true}}
	}
	return []faultKind{
		boots("boots slowly", 2, 4*time.Second, func(f *fault) []boot { return []boot{{takes: f.lasts}} }),
		boots("dies booting", 2, 0, func(f *fault) []boot { return repeat(boot{dies: true}, 1+f.pick%3) }),
		boots("hangs booting", 1, 0, func(*fault) []boot { return []boot{{takes: time.Hour}} }),
		boots("cannot be started", 1, 0, func(f *fault) []boot { return repeat(boot{refused: true}, 1+f.pick%2) }),
		boots("is deaf", 1, 0, func(*fault) []boot { return []boot{{takes: 20 * time.Millisecond, deaf: true}} }),
	}
}

func repeat(b boot, n int) []boot { return slices.Repeat([]boot{b}, n) }

// socketFaults cut the sockets, and spoil the next one.
func socketFaults() []faultKind {
	var kinds []faultKind
	for _, do := range []string{"cut", "close", "silent", "no-end", "twice", "shuffle", "foreign", "garbage", "oversize", "refuse", "reset"} {
		kinds = append(kinds, faultKind{name: "ws " + do, weight: 1, strike: func(r *run, f *fault) func() int {
			c := r.comfy(f)
			acted := c.inject(comfytest.Fault{On: "ws", Do: do, After: f.pick % 8, Count: 1 + f.pick%2, Bytes: 70 << 10, Status: 500})
			c.link.cut()
			return acted
		}, excuse: excuse{cuts: 1}})
	}
	return append(kinds, faultKind{name: "comfy connections cut", weight: 3, strike: func(r *run, f *fault) func() int {
		n := r.comfy(f).link.cut()
		return func() int { return n }
	}, excuse: excuse{cuts: 1}})
}

// comfyFaults spoil the next answers or executions of a ComfyUI.
func comfyFaults() []faultKind {
	next := func(weight int, most time.Duration, on, do string, x comfytest.Fault, e excuse) faultKind {
		x.On, x.Do = on, do
		return faultKind{name: on + " " + do, weight: weight, most: most, excuse: e, strike: func(r *run, f *fault) func() int {
			x := x
			x.Delay = f.lasts
			x.Count = max(1, x.Count)
			return r.comfy(f).inject(x)
		}}
	}
	var none excuse
	refused := excuse{cuts: 1}
	stays := excuse{condemns: true} // a prompt that cannot be cancelled has its process given up
	return []faultKind{
		next(2, 4*time.Second, "prompt", "late-history", comfytest.Fault{}, none),
		next(1, 0, "prompt", "no-history", comfytest.Fault{}, excuse{losses: 1}),
		next(2, 0, "prompt", "no-end", comfytest.Fault{}, none),
		next(3, 0, "POST /prompt", "lost", comfytest.Fault{}, none),
		next(2, 0, "POST /prompt", "reset", comfytest.Fault{}, refused),
		next(2, 0, "POST /prompt", "answer", comfytest.Fault{Status: 500}, refused),
		next(2, 0, "POST /prompt", "ran", comfytest.Fault{Status: 500}, none),
		next(1, 4*time.Second, "POST /prompt", "", comfytest.Fault{}, excuse{delays: true}),
		next(2, 0, "GET /history/*", "reset", comfytest.Fault{Count: 2}, none),
		next(1, 0, "GET /history/*", "answer", comfytest.Fault{Status: 500, Count: 3}, none),
		next(1, 0, "GET /history/*", "truncate", comfytest.Fault{After: 20}, none),
		next(1, 0, "GET /history/*", "hang", comfytest.Fault{}, stays),
		next(1, 0, "GET /queue", "reset", comfytest.Fault{Count: 2}, none),
		next(1, 0, "GET /prompt", "answer", comfytest.Fault{Status: 500, Count: 2}, none),
		next(1, 0, "POST /interrupt", "answer", comfytest.Fault{Status: 500}, stays),
		next(1, 0, "POST /history", "reset", comfytest.Fault{}, none),
		next(1, 0, "POST /free", "hang", comfytest.Fault{}, none),
	}
}

// queueFaults are those of the queue's answers.
func queueFaults() []faultKind {
	answer := func(name string, weight int, most time.Duration, x runpodtest.Fault, e excuse) faultKind {
		return faultKind{name: name, weight: weight, most: most, excuse: e, strike: func(r *run, f *fault) func() int {
			x := x
			if x.Hang > 0 || x.Late > 0 {
				x.Hang, x.Late = min(x.Hang, f.lasts), min(x.Late, f.lasts)
			} else {
				x.For = f.lasts
			}
			return r.queue.Inject(x)
		}}
	}
	var none excuse
	untold := excuse{untold: true}
	return []faultKind{
		answer("take 503", 2, 0, runpodtest.Fault{Call: runpodtest.TakeJobs, Times: 2, Status: 503}, none),
		answer("take 429", 1, 0, runpodtest.Fault{Call: runpodtest.TakeJobs, Status: 429, Header: http.Header{"Retry-After": {"2"}}}, none),
		answer("take 401", 1, 0, runpodtest.Fault{Call: runpodtest.TakeJobs, Status: 401}, none),
		answer("take outage", 1, 20*time.Second, runpodtest.Fault{Call: runpodtest.TakeJobs, Status: 502, Body: "<html>"}, none),
		answer("take answer destroyed", 3, 0, runpodtest.Fault{Call: runpodtest.TakeJobs, Act: true, Cut: true}, none),
		answer("take hangs", 1, time.Minute, runpodtest.Fault{Call: runpodtest.TakeJobs, Hang: time.Hour}, none),
		answer("take answer late", 2, 20*time.Second, runpodtest.Fault{Call: runpodtest.TakeJobs, Late: time.Hour}, none),
		answer("done 500", 2, 0, runpodtest.Fault{Call: runpodtest.Done, Times: 2, Status: 500}, untold),
		answer("done 500 though accepted", 3, 0, runpodtest.Fault{Call: runpodtest.Done, Act: true, Status: 500}, none),
		answer("done answer lost", 3, 0, runpodtest.Fault{Call: runpodtest.Done, Act: true, Cut: true}, none),
		answer("done reset", 2, 0, runpodtest.Fault{Call: runpodtest.Done, Cut: true}, untold),
		answer("done outage", 2, 90*time.Second, runpodtest.Fault{Call: runpodtest.Done, Status: 503}, untold),
		answer("done hangs", 1, 50*time.Second, runpodtest.Fault{Call: runpodtest.Done, Hang: time.Hour}, untold),
		answer("done 429", 1, 0, runpodtest.Fault{Call: runpodtest.Done, Status: 429, Header: http.Header{"Retry-After": {"3"}}}, untold),
		answer("ping 500", 1, 0, runpodtest.Fault{Call: runpodtest.Beat, Times: 3, Status: 500}, none),
		answer("ping hangs", 1, 40*time.Second, runpodtest.Fault{Call: runpodtest.Beat, Hang: time.Hour}, none),
		answer("ping outage", 1, 2*time.Minute, runpodtest.Fault{Call: runpodtest.Beat, Status: 503}, none),
		answer("stop 500", 1, 0, runpodtest.Fault{Call: runpodtest.StopJobs, Times: 2, Status: 500}, none),
		answer("progress reset", 1, 0, runpodtest.Fault{Call: runpodtest.Progress, Times: 2, Cut: true}, none),
		answer("progress hangs", 1, 5*time.Second, runpodtest.Fault{Call: runpodtest.Progress, Hang: time.Hour}, none),
		{name: "handed out again", weight: 4, strike: func(r *run, f *fault) func() int { return r.redeliver(f) }},
	}
}

// storeFaults are those of S3.
func storeFaults() []faultKind {
	answer := func(name string, weight int, most time.Duration, times int, x s3Fault, causes ...string) faultKind {
		return faultKind{name: "s3 " + name, weight: weight, most: most, s3: true, excuse: excuse{causes: causes},
			strike: func(r *run, f *fault) func() int { return r.store.inject(x, times, f.lasts) }}
	}
	return []faultKind{
		answer("503", 2, 0, 3, s3Fault{status: 503, code: "SlowDown"}),
		answer("500", 2, 0, 1, s3Fault{status: 500, code: "InternalError"}),
		answer("reset", 2, 0, 2, s3Fault{cut: true}),
		answer("answer lost", 2, 0, 1, s3Fault{cut: true, act: true}),
		answer("hangs", 1, 0, 1, s3Fault{hang: true}),
		answer("outage", 1, 40*time.Second, 0, s3Fault{status: 503, code: "SlowDown"}, worker.CauseStore),
		answer("403", 2, 0, 1, s3Fault{status: 403, code: "AccessDenied"}, worker.CauseStore),
		answer("clock is wrong", 1, 0, 1, s3Fault{status: 403, code: "RequestTimeTooSkewed", skew: 20 * time.Minute}),
	}
}

// podFaults end pods. The platform starts others in their place.
func podFaults() []faultKind {
	return []faultKind{
		{name: "sigterm", weight: 4, strike: func(r *run, f *fault) func() int { return r.terminate(false) }},
		{name: "sigterm twice", weight: 1, most: 5 * time.Second, strike: func(r *run, f *fault) func() int {
			acted := r.terminate(false)
			r.later(f.lasts, func() { r.hurryStopping() })
			return acted
		}},
		{name: "pod killed", weight: 3, strike: func(r *run, f *fault) func() int { return r.terminate(true) }},
	}
}

// linkFaults make a link dark or closed for a while.
func linkFaults() []faultKind {
	kind := func(name string, weight int, most time.Duration, refusing bool, e excuse, which func(r *run, f *fault) *link) faultKind {
		k := faultKind{name: name, weight: weight, most: most, excuse: e, s3: name[:2] == "s3"}
		k.strike = func(r *run, f *fault) func() int {
			l := which(r, f)
			l.set(!refusing, refusing)
			if refusing {
				l.cut()
			}
			r.later(f.lasts, func() { l.set(false, false) })
			return once
		}
		return k
	}
	queue := func(r *run, _ *fault) *link { return r.queueLink }
	store := func(r *run, _ *fault) *link { return r.storeLink }
	comfy := func(r *run, f *fault) *link { return r.comfy(f).link }
	lost := excuse{untold: true, mute: true}
	return []faultKind{
		kind("queue dark", 2, 2*time.Minute, false, lost, queue),
		kind("queue refuses", 2, 2*time.Minute, true, lost, queue),
		kind("s3 dark", 1, 20*time.Second, false, excuse{causes: []string{worker.CauseStore}}, store),
		kind("s3 refuses", 1, 60*time.Second, true, excuse{causes: []string{worker.CauseStore}}, store),
		kind("comfy dark", 2, 30*time.Second, false, excuse{condemns: true}, comfy),
		kind("comfy refuses", 1, 100*time.Millisecond, true, excuse{condemns: true, losses: 1, cuts: 2}, comfy),
	}
}

// swizzle stops links one after the other and heals them in another order.
func swizzle(r *rand.Rand, p plan) []fault {
	kinds := linkFaults()
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	var faults []fault
	at := within(r, p.span)
	for _, k := range kinds {
		if k.s3 && !p.setup.s3 {
			continue
		}
		at += brief(r, 5*time.Second)
		faults = append(faults, fault{faultKind: k, at: at, pick: r.IntN(1 << 20), lasts: brief(r, k.most)})
	}
	return faults
}
