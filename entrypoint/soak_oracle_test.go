package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/worker"
)

// soakSeen is all that is known of one job at the end.
type soakSeen struct {
	record *soakRecord // nil if the queue accepted no result
	queue  runpodtest.Job
	// starts and ends are its executions as ComfyUI saw them, by attempt.
	starts, ends [soakAttempts][]comfytest.Execution
	// losses is how many attempts faults from outside may have cost.
	losses int
	// replaced tells whether its pod may have been replaced meanwhile.
	replaced bool
	// twice is how many hand-outs a fault added, doubtful how many may be lost.
	twice, doubtful int
	// causes are what faults from outside may have made it fail by.
	causes []string
}

// judge returns everything that is wrong with what became of a job, nothing if
// it is lawful.
func (j *soakJob) judge(seen soakSeen) soakWrongs {
	var wrong soakWrongs
	say := wrong.say

	outcome := seen.outcome()
	if outcome == "" {
		say(soakEnds, "it never ended")
		return wrong
	}
	if lawful := j.lawful(seen); !slices.Contains(lawful, outcome) {
		say(soakCauses, "it ended as %q, lawful are %q", outcome, lawful)
	}
	for n := range seen.starts {
		if runs, excused := len(seen.starts[n]), len(seen.queue.Handouts); runs > excused {
			say(soakOnce, "attempt %d was executed %d times, handed out %d times", n+1, runs, excused)
		}
	}
	if again := len(seen.starts[1]) > 0; again && seen.losses+j.deaths == 0 && len(seen.queue.Handouts) == 1 {
		say(soakOnce, "it was run again though nothing was lost")
	}
	if handed := len(seen.queue.Handouts); handed > 1+seen.twice+seen.torn()+seen.doubtful && !seen.replaced {
		say(soakEnds, "it was handed out %d times: its pod forgot it", handed)
	}
	if outcome == soakCancelled {
		if seen.wasTaken() && len(seen.queue.Posts) == 0 && !seen.replaced && seen.doubtful == 0 {
			say(soakEnds, "it was canceled and its worker never answered")
		}
		return wrong
	}
	return append(wrong, j.judgeResult(seen)...)
}

// outcome is how the job ended, "" if it did not.
func (seen soakSeen) outcome() string {
	switch {
	case seen.queue.Outcome != nil && seen.queue.Outcome.Status == runpodtest.Cancelled:
		return soakCancelled
	case seen.record != nil:
		return seen.record.outcome
	}
	return ""
}

// wasTaken tells whether a hand-out reached the worker.
func (seen soakSeen) wasTaken() bool {
	return slices.ContainsFunc(seen.queue.Handouts, func(h runpodtest.Handout) bool { return !h.Torn })
}

// torn counts the hand-outs that did not reach the worker.
func (seen soakSeen) torn() (n int) {
	for _, h := range seen.queue.Handouts {
		if h.Torn {
			n++
		}
	}
	return n
}

// lawful are the outcomes that what happened to the job allows. One loss is made
// good by a second attempt, and two are not. A pod that is told to stop may fail
// what it has begun.
func (j *soakJob) lawful(seen soakSeen) []string {
	lawful := slices.Concat(j.outcomes, seen.causes)
	if seen.replaced {
		lawful = append(lawful, worker.CauseShutdown)
	}
	if seen.losses > 0 && seen.losses+j.deaths >= 2 && j.outcomes[0] != worker.CauseBadInput {
		lawful = append(lawful, worker.CauseCrashed, worker.CausePoisoned, worker.CauseHistory)
	}
	return lawful
}

// judgeResult judges the result that was accepted.
func (j *soakJob) judgeResult(seen soakSeen) soakWrongs {
	var wrong soakWrongs
	say := wrong.say
	r := seen.record
	for _, tag := range r.tags {
		if tag != j.tag {
			say(soakOwn, "its result tells of %s, which is another job's", tag)
		}
	}
	if expected := slices.Contains(j.outcomes, r.outcome); expected && j.tells && !slices.Contains(r.tags, j.tag) {
		say(soakCauses, "its result does not tell %s: %.300s", j.tag, r.message)
	}
	if r.outcome != soakCompleted {
		if r.message == "" {
			say(soakCauses, "its failure has no message")
		}
		if strings.HasPrefix(r.outcome, "comfyui_") && r.attempts != 2 {
			say(soakCauses, "ComfyUI was blamed after %d attempts", r.attempts)
		}
		return wrong
	}
	if len(r.files) != j.files {
		say(soakBytes, "it has %d files, want %d", len(r.files), j.files)
	}
	for _, f := range r.files {
		if strings.HasSuffix(f.name, ".png") && f.colour != j.colour {
			say(soakOwn, "%s is painted in %v, want %v", f.name, f.colour, j.colour)
		}
	}
	if made, ok := seen.made(); !ok || !seen.ran() {
		say(soakBytes, "ComfyUI never executed it to a good end")
	} else if !slices.EqualFunc(r.files, made, sameFile) {
		say(soakBytes, "its files are %v, and ComfyUI made %v", r.files, made)
	}
	return wrong
}

// made are the files of the last good execution, in the order of their writing.
func (seen soakSeen) made() ([]comfytest.WrittenFile, bool) {
	for _, ends := range slices.Backward(seen.ends[:]) {
		for _, e := range slices.Backward(ends) {
			if e.Outcome == comfytest.Success {
				return e.Files, true
			}
		}
	}
	return nil, false
}

func sameFile(got soakFile, made comfytest.WrittenFile) bool {
	return got.name == filepath.Base(made.Path) && got.sha256 == made.SHA256
}

// soakAttempts is how many attempts at a job are looked for: two for each time
// that it may have been handed out.
const soakAttempts = 6

// ran tells whether ComfyUI began any attempt.
func (seen soakSeen) ran() bool {
	return slices.ContainsFunc(seen.starts[:], func(runs []comfytest.Execution) bool { return len(runs) > 0 })
}
