package simulation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tries is how often a plan is played before it counts as harmless: what the
// scheduler does is not decided by the seed.
const tries = 5

// fails plays a plan until it fails, and returns that run, or nil.
func fails(t *testing.T, p plan, w weakness, tries int) *run {
	for range tries {
		if r := play(t, p, w); len(r.violations) > 0 {
			return r
		}
	}
	return nil
}

// shrink returns a smaller plan that fails too, and the run in which it did: first
// without faults, then without jobs, one after the other, as long as that helps.
func shrink(t *testing.T, p plan, w weakness, failed *run) (plan, *run) {
	jobs, faults := places(len(p.jobs)), places(len(p.faults))
	for smaller := true; smaller; {
		smaller = false
		for _, list := range []*[]int{&faults, &jobs} {
			for i := len(*list) - 1; i >= 0; i-- {
				if list == &jobs && len(jobs) == 1 {
					break
				}
				all := *list
				*list = slices.Delete(slices.Clone(all), i, i+1)
				if r := fails(t, p.only(jobs, faults), w, tries); r != nil {
					failed, smaller = r, true
				} else {
					*list = all
				}
			}
		}
	}
	small := p.only(jobs, faults)
	small.kept = "-sim.jobs=" + written(jobs) + " -sim.faults=" + written(faults)
	failed.plan.kept = small.kept
	return small, failed
}

func places(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// written is a list of places as the flags take it, "none" for no place at all.
func written(all []int) string {
	if len(all) == 0 {
		return "none"
	}
	var text []string
	for _, n := range all {
		text = append(text, strconv.Itoa(n))
	}
	return strings.Join(text, ",")
}

// read is the list that a flag has, of n places if it is empty.
func read(text string, n int) (all []int, err error) {
	switch text {
	case "":
		return places(n), nil
	case "none":
		return nil, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		i, err := strconv.Atoi(word)
		if err != nil || i < 0 || i >= n {
			return nil, fmt.Errorf("%q is no place in a list of %d", word, n)
		}
		all = append(all, i)
	}
	return all, nil
}

// A planted bug is found, and what is printed of it is its cause and nothing else:
// of a large plan one job and one fault are left.
func TestShrinkingLeavesTheCause(t *testing.T) {
	const name = "exit 1"
	planted := weakness{loses: func(r *run, id string) bool {
		return id == "job-1" && slices.ContainsFunc(r.fired, func(f *firing) bool { return f.fault.name == name })
	}}
	p := largePlan(name)
	r := fails(t, p, planted, 1)
	if r == nil {
		t.Fatal("the planted bug was not found")
	}
	small, r := shrink(t, p, planted, r)
	if len(small.jobs) != 1 || small.jobs[0].id != "job-1" || len(small.faults) != 1 || small.faults[0].name != name {
		t.Errorf("left are %d jobs and %d faults:\n%s", len(small.jobs), len(small.faults), r.report())
	}
	if !strings.Contains(r.report(), "-sim.jobs=1 -sim.faults=") {
		t.Errorf("the report has no command that plays what is left:\n%s", r.report())
	}
	again, err := read(strings.TrimPrefix(strings.Fields(small.kept)[1], "-sim.faults="), len(p.faults))
	if err != nil || p.faults[again[0]].name != name {
		t.Errorf("%q does not lead back to the fault: %v, %v", small.kept, again, err)
	}
	if r := fails(t, small, weakness{}, 1); r != nil {
		t.Errorf("without the planted bug the plan fails as well:\n%s", r.report())
	}
}

// largePlan is the first one that has many jobs and faults, and a job and a fault
// by which a planted bug shows.
func largePlan(name string) plan {
	for seed := uint64(1); ; seed++ {
		p := newPlan(seed)
		i := slices.IndexFunc(p.faults, func(f fault) bool { return f.name == name && f.job == "" && f.at == 0 })
		if len(p.jobs) >= 6 && len(p.faults) >= 6 && i >= 0 && p.jobs[1].kind == "files" && p.setup.refresh == 0 {
			return p
		}
	}
}
