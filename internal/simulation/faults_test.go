package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
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
	// puts is how many requests to S3 it may spoil. A file is given up after six.
	puts int
	// twice is true if nobody can know that a prompt was executed whose answer was
	// lost, so that it may be once more.
	twice bool
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

// faultKinds are all of them.
var faultKinds = sync.OnceValue(func() []faultKind {
	kinds := processFaults()
	kinds = append(kinds, bootFaults()...)
	kinds = append(kinds, socketFaults()...)
	kinds = append(kinds, comfyFaults()...)
	kinds = append(kinds, queueFaults()...)
	kinds = append(kinds, storeFaults()...)
	kinds = append(kinds, podFaults()...)
	return append(kinds, linkFaults()...)
})

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
		process("history is lost", 2, 0, comfytest.Fault{Do: "wipe"}, excuse{losses: 1, span: time.Minute, twice: true}),
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
		next(1, 0, "prompt", "no-history", comfytest.Fault{}, excuse{losses: 1, twice: true}),
		next(2, 0, "prompt", "no-end", comfytest.Fault{}, none),
		next(3, 0, "POST /prompt", "lost", comfytest.Fault{}, refused),
		next(2, 0, "POST /prompt", "reset", comfytest.Fault{}, refused),
		next(2, 0, "POST /prompt", "answer", comfytest.Fault{Status: 500}, refused),
		next(2, 0, "POST /prompt", "ran", comfytest.Fault{Status: 500}, refused),
		next(1, 4*time.Second, "POST /prompt", "", comfytest.Fault{}, excuse{twice: true}),
		next(2, 0, "GET /history/*", "reset", comfytest.Fault{Count: 2}, none),
		next(1, 0, "GET /history/*", "answer", comfytest.Fault{Status: 500, Count: 3}, none),
		next(1, 0, "GET /history/*", "truncate", comfytest.Fault{After: 20}, none),
		next(1, 0, "GET /history/*", "hang", comfytest.Fault{}, excuse{condemns: true, cuts: 1}),
		next(1, 0, "GET /queue", "reset", comfytest.Fault{Count: 2}, none),
		next(1, 0, "GET /prompt", "answer", comfytest.Fault{Status: 500, Count: 2}, none),
		next(1, 0, "POST /interrupt", "answer", comfytest.Fault{Status: 500}, stays),
		next(1, 0, "POST /history", "reset", comfytest.Fault{}, none),
		next(2, 0, "POST /free", "hang", comfytest.Fault{}, none),
	}
}
