package simulation

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/worker"
)

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
		return faultKind{name: "s3 " + name, weight: weight, most: most, s3: true, excuse: excuse{causes: causes, puts: times},
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

// settling is how long before and after a link is spoilt what was sent may be lost, as
// the answer to a call that was given up in the dark is.
const settling = 200 * time.Millisecond

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
			if l == r.queueLink {
				from := time.Now().Add(-settling)
				r.later(f.lasts+settling, func() { r.queue.Doubt(from, time.Now()) })
			}
			return once
		}
		return k
	}
	queue := func(r *run, _ *fault) *link { return r.queueLink }
	store := func(r *run, _ *fault) *link { return r.storeLink }
	comfy := func(r *run, f *fault) *link { return r.comfy(f).link }
	lost := excuse{untold: true, mute: true}
	// It looks as if ComfyUI had replaced its program, and leaves the prompts of
	// before in its queue.
	reboot := excuse{condemns: true, losses: 2, cuts: 2}
	return []faultKind{
		kind("queue dark", 2, 2*time.Minute, false, lost, queue),
		kind("queue refuses", 2, 2*time.Minute, true, lost, queue),
		kind("s3 dark", 1, 20*time.Second, false, excuse{causes: []string{worker.CauseStore}}, store),
		kind("s3 refuses", 1, 60*time.Second, true, excuse{causes: []string{worker.CauseStore}}, store),
		kind("comfy dark", 2, 30*time.Second, false, excuse{condemns: true}, comfy),
		kind("comfy refuses", 1, 100*time.Millisecond, true, reboot, comfy),
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
