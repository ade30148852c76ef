package simulation

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/worker"
)

// stuck tells which jobs did not come to an end.
func (r *run) stuck() {
	for _, j := range r.plan.jobs {
		if r.queue.Job(j.id).Outcome == nil {
			r.violation(j.id, "%s has not ended %v after the last fault", j.id, recovery)
		}
	}
	for _, p := range r.living() {
		if n := p.work.Active(); n > 0 {
			r.violation("", "%s still has %d jobs at hand %v after the last fault", p.name, n, recovery)
		}
	}
}

// judge compares what became of everything with what may become of it.
func (r *run) judge() {
	if err := r.queue.Check(); err != nil && len(r.violations) == 0 {
		for text := range strings.Lines(err.Error()) {
			if !r.excused(text) {
				r.violation("", "queue: %s", strings.TrimSpace(text))
			}
		}
	}
	ran := r.executions()
	for i := range r.plan.jobs {
		j := &r.plan.jobs[i]
		for _, wrong := range j.judge(r.sight(j, ran), r) {
			r.violation(j.id, "%s (%s): %s", j.id, j.kind, wrong)
		}
	}
	for _, p := range r.pods {
		r.judgePod(p)
	}
	r.judgePace(ran)
	r.judgeLoad(ran)
	for name, calls := range map[string]*rate{"queue": &r.calls, "S3": &r.store.calls} {
		if most := 20 * len(r.pods); calls.top > most {
			r.violation("", "the %s refused %d calls within a second", name, calls.top)
		}
	}
}

// excused tells whether what the queue complains about is its own doing: it handed
// a job out again, to a pod that knew nothing of its end.
func (r *run) excused(complaint string) bool {
	name, what, _ := strings.Cut(strings.TrimPrefix(complaint, "job "), ": ")
	again := len(r.queue.Job(name).Handouts) > 1
	switch {
	case strings.HasPrefix(what, "progress after its result"):
		return again
	case strings.HasPrefix(what, "done "): // an answer that the link lost counts for nothing at the queue
		return again || r.hasFired(func(x excuse) bool { return x.untold })
	}
	return false
}

// lost are the causes by which a job may fail that has lost two attempts.
var lost = []string{
	worker.CauseCrashed, worker.CauseOOMKilled, worker.CauseHung, worker.CausePoisoned, worker.CauseStalled, worker.CauseHistory,
}

// judge returns everything that is wrong with what became of a job, nothing if
// it is lawful.
func (j *plannedJob) judge(s sight, r *run) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	o := s.queue.Outcome
	if o == nil {
		return nil // stuck has told
	}
	outcome := cancelled
	if o.Status != runpodtest.Cancelled {
		outcome = s.record.outcome
	}
	lawful := slices.Concat(j.outcomes, s.excuses)
	if s.losses > 0 && s.losses+j.deaths >= 2 {
		lawful = append(lawful, lost...)
	}
	lawful = append(lawful, r.endings(s.queue)...)
	if outcome == worker.CauseCanceled && j.stopAfter > 0 {
		return nil
	}
	if !slices.Contains(lawful, outcome) {
		say("it ended as %q, lawful are %q after %d losses: %s", outcome, lawful, s.losses, s.record)
	}
	prompts := 0
	for id, n := range s.ran {
		prompts++
		if n > 1 && !r.hasFired(func(x excuse) bool { return x.twice }) {
			say("%s was executed %d times", id, n)
		}
	}
	if prompts > len(s.queue.Handouts) && s.losses+j.deaths == 0 {
		say("it was executed %d times, handed out %d times, and nothing was lost", prompts, len(s.queue.Handouts))
	}
	if r.silenced(s.queue) {
		say("the queue handed it out again, as if its worker had gone")
	}
	if prompts > 2*len(s.queue.Handouts) {
		say("it was executed %d times, handed out %d times", prompts, len(s.queue.Handouts))
	}
	if outcome == cancelled {
		return wrong
	}
	return append(wrong, j.judgeRecord(s)...)
}

// silenced tells whether a job was handed out again while its worker lived, and
// nothing kept that from telling so.
func (r *run) silenced(q runpodtest.Job) bool {
	excused := slices.ContainsFunc(r.fired, func(f *firing) bool {
		word, _, _ := strings.Cut(f.fault.name, " ")
		return slices.Contains([]string{"ping", "queue", "done", "handed"}, word)
	})
	if excused || len(q.Handouts) < 2 || q.Handouts[0].Torn {
		return false
	}
	return slices.ContainsFunc(r.events, func(h happening) bool { // it has come to a pod that lives
		return h.job == q.ID && h.phase == worker.PhaseTake && h.pod.name == q.Handouts[0].Worker &&
			h.at.Before(q.Handouts[1].At) && h.pod.killed.IsZero() && h.pod.ended.After(q.Handouts[1].At)
	})
}

// judgeRecord judges the result that was accepted.
func (j *plannedJob) judgeRecord(s sight) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	x := s.record
	for _, tag := range x.tags {
		if tag != j.tag {
			say("its result tells of %s, which is another job's", tag)
		}
	}
	if slices.Contains(j.outcomes, x.outcome) && j.tells && !slices.Contains(x.tags, j.tag) {
		say("its result does not tell %s", j.tag)
	}
	if x.outcome != completed {
		if x.message == "" || x.outcome == "" {
			say("its failure has no message or no cause")
		}
		if x.outcome == worker.CauseCrashed && x.attempts != 2 {
			say("ComfyUI was blamed after %d attempts", x.attempts)
		}
		return wrong
	}
	if len(x.files) != j.files {
		say("it has %d files, want %d", len(x.files), j.files)
	}
	for _, e := range s.good {
		if slices.EqualFunc(x.files, e.Files, func(got file, made comfytest.WrittenFile) bool {
			return got.name == filepath.Base(made.Path) && got.sha256 == made.SHA256
		}) {
			return wrong
		}
	}
	say("no execution made its files %v", x.files)
	return wrong
}
