package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// A soakPlan is one block of a soak: its jobs, and the faults between them in
// the order of their injection. The seed alone decides it.
type soakPlan struct {
	kind  soakPodKind
	jobs  []soakJob
	steps []soakStep
}

// A soakStep injects a fault, wait after a job was handed out.
type soakStep struct {
	after int // place in jobs
	wait  time.Duration
	fault soakFault
}

const (
	// soakApart is the least number of jobs between two that spoil the GPU.
	soakApart = 10
	// soakCalm is the number of jobs at the end of a block that see no fault.
	soakCalm = 8
)

// newSoakRand returns what decides one block of one generation of ComfyUI.
func newSoakRand(seed uint64, version string, block int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, version, "/", block)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// newSoakPlan plans jobs whose numbers begin with first, with a fault for about
// so many of them.
func newSoakPlan(r *rand.Rand, k soakPodKind, first, jobs, every int) soakPlan {
	p := soakPlan{kind: k}
	spoilt := -soakApart
	for i := range jobs {
		j := p.next(r, first+i)
		if j.spoilsGPU() {
			if i-spoilt < soakApart {
				j = newSoakJob(j.n, "picture")
				soakPicture(&j, r)
			} else {
				spoilt = i
			}
		}
		p.jobs = append(p.jobs, j)
	}
	if jobs >= 100 { // it takes seconds
		at := jobs/4 + r.IntN(jobs/2)
		p.jobs[at] = newSoakJob(first+at, "deaf")
		soakDeaf(&p.jobs[at], r)
	}
	p.addSteps(r, every)
	return p
}

func newSoakJob(n int, kind string) soakJob {
	return soakJob{n: n, id: fmt.Sprintf("soak-%06d", n), tag: fmt.Sprintf("tag-%06d", n), kind: kind, colour: soakColour(n)}
}

// next makes the next job, of a kind drawn by weight.
func (p *soakPlan) next(r *rand.Rand, n int) soakJob {
	kinds := p.kind.jobs()
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	pick := r.IntN(total)
	for _, k := range kinds {
		if pick -= k.weight; pick >= 0 {
			continue
		}
		j := newSoakJob(n, k.name)
		if k.build != nil {
			k.build(&j, r)
			return j
		}
		if last := len(p.jobs) - 1; last >= 0 && p.jobs[last].kind == "picture" {
			again := p.jobs[last]
			again.n, again.id, again.kind = n, j.id, k.name
			return again
		}
		break
	}
	j := newSoakJob(n, "picture")
	soakPicture(&j, r)
	return j
}

// addSteps draws the faults.
func (p *soakPlan) addSteps(r *rand.Rand, every int) {
	faults := swarm(p.kind.faults(), r)
	for i := 1 + r.IntN(every); len(faults) > 0 && i < len(p.jobs)-soakCalm; {
		f := drawFault(faults, r)
		for tries := 0; tries < 100 && f.again && p.spoilerNear(i); tries++ {
			f = drawFault(faults, r)
		}
		if f.again && p.spoilerNear(i) { // there are no others
			i++
			continue
		}
		p.steps = append(p.steps, soakStep{i, time.Duration(r.IntN(80)) * time.Millisecond, f})
		if f.brief { // it would slow down all that follows
			i += 2
		} else {
			i += max(1, every/2+r.IntN(every+1))
		}
	}
}

// spoilerNear tells whether a job that spoils the GPU may be at hand together
// with job i. Handed out again, it could come beside another of its sort.
func (p *soakPlan) spoilerNear(i int) bool {
	near := p.jobs[max(0, i-soakApart/2):min(len(p.jobs), i+soakApart)]
	return slices.ContainsFunc(near, func(j soakJob) bool { return j.spoilsGPU() })
}

// swarm switches a random half of the faults off, never the first: what happens
// often hides what happens seldom.
func swarm(faults []soakFault, r *rand.Rand) (some []soakFault) {
	for i, f := range faults {
		if on := r.IntN(2) == 0; on || i == 0 {
			some = append(some, f)
		}
	}
	return some
}

func drawFault(faults []soakFault, r *rand.Rand) soakFault {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	pick := r.IntN(total)
	for _, f := range faults {
		if pick -= f.weight; pick < 0 {
			f.lasts += time.Duration(r.Float64() * float64(f.spread))
			return f
		}
	}
	panic("the weights of faults changed while one was drawn")
}
