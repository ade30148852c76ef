package main

import (
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A soakFault is something that goes wrong. Its fields take effect together.
type soakFault struct {
	name   string
	weight int
	// lasts is how long it goes on, plus a random part of spread.
	lasts, spread time.Duration

	// next is how the incarnation after this one behaves, as an act of fakecomfy.
	next *soakAct
	// signal is sent to ComfyUI. A SIGSTOP is followed by a SIGCONT after lasts.
	signal syscall.Signal
	// comfy is given to the running ComfyUI; lasts becomes its delay.
	comfy *comfytest.Fault
	// queue is given to the queue; lasts becomes how long it holds, if it has no
	// number of times.
	queue []runpodtest.Fault
	// toxic spoils the line to the bucket, or to the queue.
	toxic, queueToxic string
	// strain puts the pod under strain for so long, and tells whether it was.
	strain func(s *soak, lasts time.Duration) bool
	// ends is the signal that ends the pod, which is followed by another.
	ends syscall.Signal
	// redeliver hands out a job a second time: the one at hand, or one that is done.
	redeliver string

	// again tells that jobs at hand may be handed out again later.
	again bool
	// needs tells what a pod has to have for it, nil for nothing.
	needs func(soakPodKind) bool

	// losses is how many attempts at jobs it may cost, within span, and causes are what
	// jobs may fail by.
	losses int
	span   time.Duration
	causes []string
	// brief faults are followed by another fault soon.
	brief bool
}

// A soakAct is what one start of fakecomfy does out of the ordinary.
type soakAct struct {
	Boot   string           `json:"boot,omitempty"`
	Exit   *int             `json:"exit,omitempty"`
	After  string           `json:"after,omitempty"`
	Faults comfytest.Faults `json:"faults,omitempty"`
}

// deathSpan is how long after the death of ComfyUI a job may still meet it: one
// that was handed out before the gate closed.
const deathSpan = 500 * time.Millisecond

// faults are those that a pod of this kind can suffer.
func (k soakPodKind) faults() (some []soakFault) {
	for _, f := range soakFaults() {
		if (f.needs == nil || f.needs(k)) && strings.Contains(f.name, *soakOnly) {
			some = append(some, f)
		}
	}
	return some
}

func soakFaults() []soakFault {
	all := []soakFault{
		soakDeath("kill", 18, syscall.SIGKILL, nil),
		soakDeath("segv", 3, syscall.SIGSEGV, nil),
		soakDeath("kill, next dies booting", 1, syscall.SIGKILL, &soakAct{Exit: new(1), After: "10ms"}),
		soakDeath("kill, next boots slowly", 1, syscall.SIGKILL, &soakAct{Boot: "300ms"}),
		{name: "freeze", weight: 4, signal: syscall.SIGSTOP, lasts: 200 * time.Millisecond, spread: 800 * time.Millisecond},
		soakOfProcess("block", 2, comfytest.Fault{Do: "block"}, 200*time.Millisecond, 800*time.Millisecond, 0),
		soakOfProcess("teardown", 1, comfytest.Fault{Do: "teardown", Status: 1}, 0, 0, 1),
		soakOfProcess("exit 0", 1, comfytest.Fault{Do: "exit"}, 0, 0, 1),
		{name: "pod: SIGTERM", weight: 8, ends: syscall.SIGTERM, again: true, losses: 1, span: deathSpan},
		{name: "pod: SIGKILL", weight: 8, ends: syscall.SIGKILL, again: true, losses: 1, span: deathSpan},
		soakOfProcess("wipe history", 1, comfytest.Fault{Do: "wipe"}, 0, 0, 1),
	}
	for _, do := range []string{"cut", "close", "silent", "no-end", "twice", "shuffle", "foreign", "garbage", "oversize", "refuse", "reset"} {
		f := soakDeath("kill, then ws "+do, 1, syscall.SIGKILL, &soakAct{Faults: comfytest.Faults{
			{On: "ws", Do: do, After: 3, Count: 1, Bytes: 2 << 20, Status: http.StatusInternalServerError},
		}})
		f.brief = do == "silent" || do == "no-end"
		all = append(all, f)
	}
	all = append(all, soakOfComfy()...)
	all = append(all, soakOfBucket()...)
	all = append(all, soakOfPod()...)
	all = append(all, soakOfLines()...)
	return append(all, soakOfQueue()...)
}

// soakDeath ends ComfyUI by a signal and says how the next one behaves.
func soakDeath(name string, weight int, sig syscall.Signal, next *soakAct) soakFault {
	return soakFault{name: name, weight: weight, signal: sig, next: next, losses: 1, span: deathSpan}
}

// soakOfProcess is a fault of ComfyUI's process at once.
func soakOfProcess(name string, weight int, f comfytest.Fault, lasts, spread time.Duration, losses int) soakFault {
	f.On = "process"
	return soakFault{name: name, weight: weight, comfy: &f, lasts: lasts, spread: spread, losses: losses, span: 2 * deathSpan}
}

// soakOfComfy are those of ComfyUI's next answer or execution.
func soakOfComfy() []soakFault {
	next := func(name string, weight int, f comfytest.Fault) soakFault {
		f.Count = max(1, f.Count)
		return soakFault{name: name, weight: weight, comfy: &f}
	}
	late := next("late history", 2, comfytest.Fault{On: "prompt", Do: "late-history"})
	late.lasts, late.spread = 50*time.Millisecond, time.Second
	never := next("no history", 1, comfytest.Fault{On: "prompt", Do: "no-history"})
	never.losses, never.span = 1, 20*time.Second
	return []soakFault{
		late, never,
		next("no end marker", 2, comfytest.Fault{On: "prompt", Do: "no-end"}),
		next("POST /prompt: answer lost", 3, comfytest.Fault{On: "POST /prompt", Do: "lost"}),
		next("POST /prompt: reset", 2, comfytest.Fault{On: "POST /prompt", Do: "reset"}),
		next("POST /prompt: 500", 2, comfytest.Fault{On: "POST /prompt", Do: "answer", Status: 500}),
		next("POST /prompt: ran and 500", 2, comfytest.Fault{On: "POST /prompt", Do: "ran", Status: 500}),
		next("GET /history: reset", 2, comfytest.Fault{On: "GET /history/*", Do: "reset", Count: 2}),
		next("GET /history: 500", 1, comfytest.Fault{On: "GET /history/*", Do: "answer", Status: 500}),
		next("GET /history: truncated", 1, comfytest.Fault{On: "GET /history/*", Do: "truncate", After: 20}),
		next("upload: reset", 1, comfytest.Fault{On: "POST /upload/image", Do: "reset"}),
	}
}

// soakOfQueue are those of the queue.
func soakOfQueue() []soakFault {
	times := func(name string, weight int, f runpodtest.Fault) soakFault {
		return soakFault{name: name, weight: weight, queue: []runpodtest.Fault{f}}
	}
	destroyed := times("take: answer destroyed", 2, runpodtest.Fault{Call: runpodtest.TakeJobs, Times: 1, Act: true, Cut: true})
	destroyed.again = true
	outage := soakFault{name: "queue: outage", weight: 2, lasts: time.Second, spread: time.Second}
	for _, call := range []runpodtest.Call{runpodtest.TakeJobs, runpodtest.Done, runpodtest.Beat, runpodtest.Progress} {
		outage.queue = append(outage.queue, runpodtest.Fault{Call: call, Status: 503})
	}
	return []soakFault{
		outage,
		times("take: 503", 2, runpodtest.Fault{Call: runpodtest.TakeJobs, Times: 2, Status: 503}),
		destroyed,
		times("done: 500", 3, runpodtest.Fault{Call: runpodtest.Done, Times: 2, Status: 500}),
		times("done: 500 though accepted", 2, runpodtest.Fault{Call: runpodtest.Done, Times: 1, Act: true, Status: 500}),
		times("done: answer lost", 3, runpodtest.Fault{Call: runpodtest.Done, Times: 1, Act: true, Cut: true}),
		times("done: reset", 2, runpodtest.Fault{Call: runpodtest.Done, Times: 1, Cut: true}),
		times("ping: 500", 1, runpodtest.Fault{Call: runpodtest.Beat, Times: 1, Status: 500}),
		times("stop: 500", 1, runpodtest.Fault{Call: runpodtest.StopJobs, Times: 1, Status: 500}),
		times("progress: reset", 1, runpodtest.Fault{Call: runpodtest.Progress, Times: 2, Cut: true}),
		{name: "duplicate of the job at hand", weight: 2, redeliver: "running"},
		{name: "duplicate of a job that is done", weight: 2, redeliver: "done"},
	}
}
