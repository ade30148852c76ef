package simulation

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/worker"
)

// A plan is one run: what its seed decides.
type plan struct {
	seed   uint64
	setup  setup
	jobs   []plannedJob
	faults []fault
	span   time.Duration // in which jobs come and faults happen
	kept   string        // the flags that leave out the rest of a plan that was larger
}

// A setup is how the pods of a run are configured.
type setup struct {
	version   string
	instances int
	prefetch  bool
	checked   bool
	s3        bool
	refresh   worker.Refresh
	wear      int           // after so many jobs a ComfyUI is replaced; 0 for never
	latency   time.Duration // of each link, at most
	boot      time.Duration // of a ComfyUI that nothing ails
}

// Streams of random numbers are independent of one another, so that leaving out a
// job or a fault changes nothing about the others.
const (
	streamPlan = iota
	streamWires
	streamWear
	streamJobs   = 1 << 20
	streamFaults = 1 << 21
)

func stream(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

// mostJobs is how many jobs a plan may have.
const mostJobs = 40

// newPlan returns the plan of a seed.
func newPlan(seed uint64) plan {
	r := stream(seed, streamPlan)
	p := plan{seed: seed, setup: newSetup(r)}
	if w := stream(seed, streamWear); w.IntN(8) == 0 {
		p.setup.wear = 1 + w.IntN(4)
	}
	jobs, faults := few(r, mostJobs), few(r, 30)
	if r.IntN(20) == 0 {
		faults = 0
	}
	p.span = time.Duration(1+r.IntN(jobs*4)) * time.Second
	for n := range jobs {
		p.jobs = append(p.jobs, newJob(stream(seed, streamJobs+uint64(n)), n, p))
	}
	kinds := someKinds(r, p.setup)
	if r.IntN(10) == 0 {
		p.faults = swizzle(r, p)
		return p
	}
	for n := range faults {
		p.faults = append(p.faults, newFault(stream(seed, streamFaults+uint64(n)), kinds, p))
	}
	return p
}

// few draws a number from 1 to most, small ones far more often.
func few(r *rand.Rand, most int) int {
	switch n := r.IntN(100); {
	case n < 82:
		return 1 + r.IntN(2)
	case n < 98:
		return 1 + r.IntN(most/4)
	default:
		return 1 + r.IntN(most)
	}
}

func newSetup(r *rand.Rand) setup {
	one := func(of int) bool { return r.IntN(of) == 0 }
	s := setup{
		version: comfytest.V0330, instances: 1, prefetch: one(5), checked: one(8), s3: one(4),
		latency: []time.Duration{0, 300 * time.Microsecond, 3 * time.Millisecond, 40 * time.Millisecond}[r.IntN(4)],
		boot:    time.Duration(5+r.IntN(60)) * time.Millisecond,
	}
	if one(3) {
		s.version = comfytest.V0364
	}
	if one(8) {
		s.instances = 2
	}
	switch r.IntN(12) {
	case 0:
		s.refresh = worker.RefreshPod
	case 1:
		s.refresh = worker.RefreshProcess
	}
	return s
}

// only returns the plan with some of its jobs and faults, by their places.
func (p plan) only(jobs, faults []int) plan {
	small := p
	small.jobs, small.faults = nil, nil
	for _, i := range jobs {
		small.jobs = append(small.jobs, p.jobs[i])
	}
	for _, i := range faults {
		small.faults = append(small.faults, p.faults[i])
	}
	return small
}

// someKinds are a random half of the kinds of faults that a setup can have.
func someKinds(r *rand.Rand, s setup) []faultKind {
	all := slices.DeleteFunc(slices.Clone(faultKinds()), func(k faultKind) bool { return k.s3 && !s.s3 })
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:len(all)/2]
}
