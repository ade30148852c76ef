package simulation

import (
	"maps"
	"slices"
	"time"
)

// historyMost is how many prompts a ComfyUI may be left to remember.
const historyMost = 10

// judgeLoad judges what the pods put on their ComfyUIs: one prompt at a time, or one
// more that is waiting, nothing too often, nothing that stays, and no more jobs than a
// process is good for.
func (r *run) judgeLoad(ran map[string][]execution) {
	most := 1
	if r.plan.setup.prefetch {
		most = 2
	}
	// It looks as if ComfyUI had replaced its program, and leaves the prompts of
	// before in its queue.
	rebooted := r.hasFiredAny("comfy refuses")
	twice := r.hasFired(func(x excuse) bool { return x.twice }) // a prompt may be submitted
	// The prompt of a job that was given up goes when ComfyUI answers again, and the next
	// job does not wait for that.
	kept := maps.Clone(ran)
	for _, j := range r.plan.jobs {
		if j.stopAfter > 0 || j.limit > 0 {
			delete(kept, j.id)
		}
	}
	for _, p := range r.pods {
		for _, in := range p.instances {
			for _, rushed := range in.comfyui.rushed() {
				r.violation("", "%s is asked too often: %s", in.name, rushed)
			}
			if p.killed.IsZero() && in.comfyui.remembered > historyMost {
				r.violation("", "%s remembers %d prompts", in.name, in.comfyui.remembered)
			}
			// Where there are several, a job that lost another one may come between two.
			if wear := r.plan.setup.wear; wear > 0 && len(p.instances) == 1 && !rebooted {
				if n := in.comfyui.mostJobs(); n > wear+most-1 {
					r.violation("", "%s has run %d jobs in one process, want %d at most", in.name, n, wear+most-1)
				}
			}
			if n := crowd(kept, in); n > most && !rebooted && !twice {
				r.violation("", "%s had %d prompts at once, want %d at most", in.name, n, most)
			}
		}
	}
}

// crowd is how many prompts an instance had at once, from their submission to their
// end.
func crowd(ran map[string][]execution, in *instance) (most int) {
	type step struct {
		at   time.Time
		more int
	}
	var steps []step
	for _, all := range ran {
		for _, x := range all {
			if x.in == in {
				steps = append(steps, step{x.Queued, 1}, step{x.Ended, -1})
			}
		}
	}
	slices.SortFunc(steps, func(a, b step) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.more - b.more // one that ends makes room for another
	})
	n := 0
	for _, s := range steps {
		n += s.more
		most = max(most, n)
	}
	return most
}
