package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/worker"
)

// The oracle of the soak finds nothing wrong with a real run in which nothing
// was, and complains about each way of tampering with it: a soak that cannot
// fail proves nothing.
func TestSoakOracleSeesWhatIsPlanted(t *testing.T) {
	t.Parallel()
	s := startSoak(t, soakPodKind{name: "oracle", version: comfytest.V0330})
	jobs := soakOfEachKind()
	for i := range jobs {
		jobs[i].submit(s.q)
	}
	seen := s.seeAll(jobs)
	for name, j := range jobs {
		if wrong := j.judge(seen[name]); len(wrong) > 0 {
			t.Fatalf("untouched, %s: %v", j.kind, wrong)
		}
	}
	picture, text, raise, files, poison := 0, 2, 3, 4, 5
	tests := []struct {
		name  string
		job   int
		plant func(*soakSeen)
		want  string
	}{
		{"result of another job", picture, func(x *soakSeen) { x.record = seen[1].record }, "painted in"},
		{"text of another job", text, func(x *soakSeen) { x.record.tags = []string{"tag-999999"} }, "another job's"},
		{"result is lost", picture, func(x *soakSeen) { x.record, x.queue.Outcome = nil, nil }, "never ended"},
		{"one byte is another", picture, func(x *soakSeen) { x.record.files[0].sha256 = strings.Repeat("0", 64) }, "ComfyUI made"},
		{"a file is missing", files, func(x *soakSeen) { x.record.files = x.record.files[1:] }, "files, want"},
		{"files in another order", files, func(x *soakSeen) { slices.Reverse(x.record.files) }, "ComfyUI made"},
		{"a file of another name", picture, func(x *soakSeen) { x.record.files[0].name = "x.png" }, "ComfyUI made"},
		{"a failure without a cause", raise, func(x *soakSeen) { x.record.outcome = "" }, "never ended"},
		{"a cause that is none of its own", raise, func(x *soakSeen) { x.record.outcome = worker.CauseInternal }, "lawful are"},
		{"a failure that tells nothing", raise, func(x *soakSeen) { x.record.message, x.record.tags = "", nil }, "no message"},
		{"ComfyUI is blamed though it lived", picture, func(x *soakSeen) { x.record = &soakRecord{outcome: worker.CauseCrashed, message: "x", attempts: 2} }, "lawful are"},
		{"ComfyUI is blamed for one death", poison, func(x *soakSeen) { x.record.attempts = 1 }, "after 1 attempts"},
		{"poison completes", poison, func(x *soakSeen) { x.record.outcome = soakCompleted }, "lawful are"},
		{"it runs twice", picture, func(x *soakSeen) { x.starts[0] = append(x.starts[0], x.starts[0]...) }, "executed 2 times"},
		{"it runs again for nothing", picture, func(x *soakSeen) { x.starts[1] = x.starts[0] }, "nothing was lost"},
		{"it never ran", picture, func(x *soakSeen) {
			x.starts, x.ends = [soakAttempts][]comfytest.Execution{}, [soakAttempts][]comfytest.Execution{}
		}, "never executed"},
		{"canceled by nobody", picture, func(x *soakSeen) { x.queue.Outcome.Status = runpodtest.Cancelled }, "lawful are"},
		{"canceled and never answered", picture, func(x *soakSeen) { x.queue.Outcome.Status, x.queue.Posts = runpodtest.Cancelled, nil }, "never answered"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doctored := seen[tt.job].clone()
			tt.plant(&doctored)
			if wrong := jobs[tt.job].judge(doctored); !strings.Contains(fmt.Sprint(wrong), tt.want) {
				t.Errorf("the oracle says %v, want something about %q", wrong, tt.want)
			}
		})
	}
}

// soakOfEachKind are a few jobs with results of their own sort.
func soakOfEachKind() (jobs []soakJob) {
	r := newSoakRand(1, "control", 0)
	for i, name := range []string{"picture", "picture", "text", "raise", "files", "poison"} {
		kinds := soakKinds()
		k := kinds[slices.IndexFunc(kinds, func(k soakKind) bool { return k.name == name })]
		for {
			j := newSoakJob(i, name)
			k.build(&j, r)
			if several := name != "files" || j.files > 1; several && j.deaths == 0 || slices.Contains(j.outcomes, worker.CauseCrashed) {
				jobs = append(jobs, j)
				break
			}
		}
	}
	return jobs
}

// seeAll waits for the ends of jobs and returns what there is to know of them.
func (s *soak) seeAll(jobs []soakJob) (all []soakSeen) {
	s.t.Helper()
	for _, j := range jobs {
		ends(s.t, s.q, j.id)
	}
	s.until("no job is at hand", func() bool { return s.state().Jobs == 0 })
	starts, ended := s.turnLedger()
	for _, j := range jobs {
		all = append(all, s.see(&j, s.q.Job(j.id), starts, ended))
	}
	return all
}

// clone returns a copy that can be tampered with.
func (seen soakSeen) clone() soakSeen {
	record, outcome := *seen.record, *seen.queue.Outcome
	record.files, record.tags = slices.Clone(record.files), slices.Clone(record.tags)
	seen.record, seen.queue.Outcome = &record, &outcome
	return seen
}

// soakEverything is a pod that can suffer everything.
var soakEverything = soakPodKind{bucket: true, disk: true, memory: true}

// A plan is the same for the same seed, and another for another one.
func TestSoakPlanIsDecidedByItsSeed(t *testing.T) {
	print := func(seed uint64) string {
		p := newSoakPlan(newSoakRand(seed, comfytest.V0364, 1), soakEverything, 0, 500, 8)
		var b strings.Builder
		for _, j := range p.jobs {
			b.WriteString(j.id + j.kind + j.input + "\n")
		}
		for _, s := range p.steps {
			b.WriteString(s.wait.String() + s.fault.name + s.fault.lasts.String() + "\n")
		}
		return b.String()
	}
	if first, again := print(1), print(1); first != again || first == print(2) {
		t.Error("the seed does not decide the plan")
	}
}

// Every kind of job and every fault has its turn in a plan of moderate length,
// with the weights that are meant.
func TestSoakPlanHasEverything(t *testing.T) {
	const jobs = 5000
	var p soakPlan
	for block := range jobs / 250 {
		next := newSoakPlan(newSoakRand(1, comfytest.V0364, block), soakEverything, len(p.jobs), 250, 8)
		p.jobs, p.steps = append(p.jobs, next.jobs...), append(p.steps, next.steps...)
	}
	missing := make(map[string]bool)
	for _, k := range soakEverything.jobs() {
		missing[k.name] = true
	}
	for _, f := range soakFaults() {
		missing[f.name] = true
	}
	pictures, faults := 0, len(p.steps)
	for _, j := range p.jobs {
		delete(missing, strings.Fields(j.kind)[0])
		if j.kind == "picture" {
			pictures++
		}
	}
	for _, s := range p.steps {
		delete(missing, s.fault.name)
	}
	if len(missing) > 0 {
		t.Errorf("never drawn: %v", slices.Sorted(maps.Keys(missing)))
	}
	if pictures < jobs/2 || pictures > jobs*4/5 {
		t.Errorf("%d pictures of %d jobs", pictures, jobs)
	}
	if faults < jobs/12 || faults > jobs/4 {
		t.Errorf("%d faults for %d jobs", faults, jobs)
	}
}

// A fault is told from a fault by when it happened: only what overlaps a job's
// life can have cost it an attempt.
func TestSoakLossesAreThoseOfTheJobsLife(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	s := &soak{losses: []soakLoss{
		{at(0), at(1), 1, "", false, nil}, {at(2), at(3), 1, "", false, nil}, {at(4), at(9), 2, "other", false, []string{"disk_full"}},
		{at(4), at(9), 2, "a", false, []string{"none"}}, {at(7), at(8), 1, "", true, nil},
	}}
	j := soakJob{id: "a"}
	seen := runpodtest.Job{Handouts: []runpodtest.Handout{{At: at(3)}}, Outcome: &runpodtest.Outcome{At: at(6)}}
	if got, replaced, causes := s.lossesOf(&j, seen); got != 3 || replaced || !slices.Equal(causes, []string{"disk_full"}) {
		t.Errorf("%d losses, the pod replaced: %v, causes %v; want 3, false, disk_full", got, replaced, causes)
	}
}
