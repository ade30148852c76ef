package main

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

var (
	soakJobs     = flag.Int("soak.jobs", 300, "jobs of the soak, over all its pods")
	soakPods     = flag.Int("soak.pods", 2, "pods of the soak that run side by side")
	soakSeed     = flag.Uint64("soak.seed", 1, "seed of the soak; 0 takes one from the clock")
	soakEvery    = flag.Int("soak.every", 8, "mean number of jobs between two faults of the soak")
	soakBinary   = flag.String("soak.binary", "", "comfyvisor to be soaked; by default the test binary, race detector and all")
	soakPatience = flag.Duration("soak.patience", 2*patience, "longest wait of the soak for an event")
	soakBlock    = flag.Int("soak.block", 250, "jobs between two moments of rest, in which everything has to be back to where it began")
	soakFirst    = flag.Bool("soak.first", false, "end the soak at the first failure")
	soakOnly     = flag.String("soak.only", "", "draw only faults whose names have this in them")
	soakJSON     = flag.String("soak.json", "", "file for the report of the soak")
	soakKeep     = flag.String("soak.keep", "", "directory for the logs and ComfyUI's ledgers of the soak")
)

// soakFailed tells that a pod of a soak failed, which ends the others with
// -soak.first.
var soakFailed atomic.Bool

// another ends the test if it or another pod of the soak has failed, and that is
// asked for.
func (s *soak) another() {
	s.t.Helper()
	if *soakFirst && (s.t.Failed() || soakFailed.Load()) {
		soakFailed.Store(true)
		s.t.Fatal("the first failure ends the soak")
	}
}

// Jobs of all sorts run while ComfyUI is killed, frozen and made to answer
// wrongly, the queue breaks, and pods are stopped, killed and replaced. Each job
// must end once, with its own bytes or with a lawful cause, and nothing may be
// left of any of it.
func TestSoakJobsSurviveEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("a soak takes its time")
	}
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	total := newSoakTotal(seed)
	t.Cleanup(func() { total.tell(t) })
	for pod := range *soakPods {
		k := soakKindOf(pod)
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			replay := fmt.Sprintf("go test ./entrypoint -run 'TestSoakJobsSurviveEverything/^%s$' -count=1 -v -soak.jobs=%d -soak.pods=%d -soak.every=%d -soak.seed=%d",
				strings.ReplaceAll(k.name, ".", `\.`), *soakJobs, *soakPods, *soakEvery, seed)
			t.Logf("replay: %s", replay)
			s := startSoak(t, k)
			t.Cleanup(func() { total.add(s) })
			s.block(soakPlan{}.calm(12)) // warm-up
			s.base = s.rest()
			for block, left := 1, *soakJobs / *soakPods; left > 0; block, left = block+1, left-*soakBlock {
				s.block(newSoakPlan(newSoakRand(seed, k.name, block), k, s.jobs, min(left, *soakBlock), *soakEvery))
				s.compare(s.rest())
				s.another()
			}
			s.stop()
			t.Log(s.report(seed, replay))
		})
	}
}

// calm returns a plan of so many pictures and nothing else.
func (p soakPlan) calm(jobs int) soakPlan {
	for i := range jobs {
		j := newSoakJob(i, "picture")
		soakPicture(&j, newSoakRand(0, "", i))
		p.jobs = append(p.jobs, j)
	}
	return p
}

// block runs the jobs of a plan to their ends, with its faults, and judges them.
func (s *soak) block(p soakPlan) {
	s.t.Helper()
	var callers sync.WaitGroup
	s.t.Cleanup(callers.Wait)
	callers.Go(func() { s.feed(p.jobs, &callers) })
	for _, step := range p.steps {
		s.handedOut(&p.jobs[step.after])
		<-time.After(step.wait)
		s.inject(&step.fault, &p.jobs[step.after])
	}
	s.handedOut(&p.jobs[max(0, len(p.jobs)-soakCalm/2)])
	s.heal()
	begun := time.Now()
	for i := range p.jobs {
		s.until(fmt.Sprintf("job %s has an end", p.jobs[i].id), func() bool { return s.q.Job(p.jobs[i].id).Outcome != nil })
	}
	s.until("no job is at hand", func() bool { return s.q.Ledger().Waiting == 0 && s.state().Jobs == 0 && s.state().Instances[0].Ready })
	callers.Wait()
	s.counts.backlog = max(s.counts.backlog, time.Since(begun))
	s.jobs += len(p.jobs)
	s.judge(p.jobs)
	s.turnLog()
}

// soakStock is how many jobs wait in the queue.
const soakStock = 3

// feed submits jobs as others are handed out, so that what is handed out a
// second time gets its turn soon. Some are given up later by their callers.
func (s *soak) feed(jobs []soakJob, callers *sync.WaitGroup) {
	for i := range jobs {
		j := &jobs[i]
		if i >= soakStock && !s.eventually(func() bool { return len(s.q.Job(jobs[i-soakStock].id).Handouts) > 0 }) {
			return
		}
		j.submit(s.q)
		if j.stopAfter == 0 {
			continue
		}
		callers.Go(func() {
			if s.eventually(func() bool { return soakSeen{queue: s.q.Job(j.id)}.wasTaken() }) {
				<-time.After(j.stopAfter)
				s.q.Stop(j.id)
			}
		})
	}
}

// eventually waits for something to become true. It returns false if the test
// ends before.
func (s *soak) eventually(cond func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-s.t.Context().Done():
			return false
		}
	}
	return true
}

func (s *soak) handedOut(j *soakJob) {
	s.t.Helper()
	s.until(fmt.Sprintf("job %s is handed out", j.id), func() bool { return len(s.q.Job(j.id).Handouts) > 0 })
}

// judge has the oracle look at each job.
func (s *soak) judge(jobs []soakJob) {
	s.t.Helper()
	if err := s.q.Check(); err != nil {
		of := soakEnds
		if strings.Contains(err.Error(), "times a second") {
			of = soakCalls
		}
		s.wrong(of, "the queue complains: %v", err)
	}
	starts, ends := s.turnLedger()
	queue := make(map[string]runpodtest.Job)
	for _, j := range s.q.Ledger().Jobs {
		queue[j.ID] = j
	}
	for i := range jobs {
		s.noteDeaths(&jobs[i], queue[jobs[i].id])
	}
	for i := range jobs {
		j := &jobs[i]
		seen := s.see(j, queue[j.id], starts, ends)
		for _, wrong := range j.judge(seen) {
			s.wrong(wrong.of, "%s (%s): %s", j.id, j.kind, wrong.text)
			s.logOf(j)
		}
		s.counts.count(j, seen)
	}
	s.forget()
}

// see gathers what is known of a job.
func (s *soak) see(j *soakJob, queue runpodtest.Job, starts, ends map[string][]comfytest.Execution) soakSeen {
	seen := soakSeen{queue: queue, record: s.record(j.id)}
	seen.losses, seen.replaced, seen.causes = s.lossesOf(j, queue)
	for _, h := range queue.Handouts {
		if s.q.Doubtful(h.At) {
			seen.doubtful++
		}
	}
	seen.twice = s.twice[j.id]
	for n := range seen.starts {
		id := comfy.PromptID(j.id, n+1)
		seen.starts[n], seen.ends[n] = starts[id], ends[id]
	}
	return seen
}

// stop ends comfyvisor, which has nothing more to do.
func (s *soak) stop() {
	s.t.Helper()
	s.endWatch()
	s.signal(syscall.SIGTERM)
	if code := s.exit(); code != exitDone {
		s.wrong(soakExits, "exit code %d, want %d:\n%s", code, exitDone, s.stdout.String())
	}
	if left := s.processes(); len(left) > 0 {
		s.wrong(soakReaped, "processes are left: %v", left)
	}
	s.turnLog()
}
