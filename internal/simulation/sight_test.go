package simulation

import (
	"sync"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/worker"
)

// promptsPerJob is how many attempts at a job by one pod are looked for.
const promptsPerJob = 12

// promptIDs are the jobs of prompts, those of all plans.
var promptIDs = sync.OnceValue(func() map[string]string {
	ids := make(map[string]string)
	for n := range mostJobs {
		for attempt := range promptsPerJob {
			ids[comfy.PromptID(jobID(n), attempt+1)] = jobID(n)
		}
	}
	return ids
})

// A sight is all that is known of one job at the end.
type sight struct {
	queue  runpodtest.Job
	record *record
	// ran are its executions by prompt id and pod.
	ran  map[string]int
	good []comfytest.Execution
	// losses is how many attempts it may have lost, through the end of a ComfyUI or
	// otherwise, and excuses are the causes that faults make lawful.
	losses  int
	excuses []string
}

// An execution is one by a ComfyUI of a pod.
type execution struct {
	comfytest.Execution
	pod *pod
	in  *instance
}

// executions are those of all pods, by job.
func (r *run) executions() map[string][]execution {
	all := make(map[string][]execution)
	for _, p := range r.pods {
		for _, in := range p.instances {
			for _, e := range in.comfyui.executions() {
				job := promptIDs()[e.PromptID]
				all[job] = append(all[job], execution{e, p, in})
			}
		}
	}
	return all
}

// sight gathers what is known of a job, and of what all jobs ran.
func (r *run) sight(j *plannedJob, ran map[string][]execution) sight {
	s := sight{queue: r.queue.Job(j.id), ran: make(map[string]int)}
	if x, ok := r.records[j.id]; ok {
		s.record = &x
	}
	for _, x := range ran[j.id] {
		s.ran[x.pod.name+" "+x.PromptID]++
		if x.Outcome == comfytest.Success {
			s.good = append(s.good, x.Execution)
		}
	}
	if len(s.queue.Handouts) > 0 {
		r.lossesOf(&s)
	}
	return s
}

// deathNews is how long after the end of a ComfyUI a job may still be given to it, and
// how long before it jobs are taken from one that is being stopped: with two ComfyUIs
// they may have run on the other by then.
const deathNews = 100 * time.Millisecond

// lossesOf counts what a job may have lost between its first hand-out and its end.
func (r *run) lossesOf(s *sight) {
	from, to := s.queue.Handouts[0].At, time.Now()
	if o := s.queue.Outcome; o != nil && !o.At.IsZero() && len(s.queue.Handouts) == 1 {
		to = o.At
	}
	during := func(at, end time.Time) bool { return !end.Before(from) && !at.After(to) }
	for _, p := range r.pods {
		for _, in := range p.instances {
			for _, e := range in.comfyui.exits() {
				if during(e.At.Add(-deathNews), e.At.Add(deathNews)) {
					s.losses++
				}
			}
		}
	}
	cuts, puts := 0, 0
	for _, f := range r.fired {
		x := f.fault.excuse
		if f.acted == nil || x.losses+x.cuts+x.puts == 0 && len(x.causes) == 0 {
			continue
		}
		end := f.at.Add(f.fault.lasts + x.span)
		if x.span == 0 {
			end = to
		}
		if during(f.at, end) {
			s.losses += x.losses
			cuts += x.cuts
			puts += x.puts
			s.excuses = append(s.excuses, x.causes...)
		}
	}
	if puts >= 5 {
		s.excuses = append(s.excuses, worker.CauseStore)
	}
	if cuts >= 2 {
		s.excuses = append(s.excuses, worker.CauseUnreachable)
	}
}
