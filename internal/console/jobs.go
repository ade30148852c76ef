package console

import (
	"slices"

	"github.com/comfyvisor/comfyvisor/internal/event"
)

// jobs are those at work, the oldest first.
type jobs struct{ all []*entryOf }

// entryOf is what is kept of a job at work.
type entryOf struct {
	atWork
	picture *event.Preview
	news    bool // not yet told
}

func (j *jobs) find(id string) *entryOf {
	if i := slices.IndexFunc(j.all, func(e *entryOf) bool { return e.ID == id }); i >= 0 {
		return j.all[i]
	}
	return nil
}

// phase notes that a job has come to a phase, and returns how it stands.
func (j *jobs) phase(e event.Job) atWork {
	known := j.find(e.ID)
	if known == nil {
		known = &entryOf{atWork: atWork{ID: e.ID}}
		j.all = last(append(j.all, known), keepJobs)
	}
	if e.Attempt > known.Attempt { // it begins again
		known.atWork, known.picture = atWork{ID: e.ID, Preview: known.Preview}, nil
	}
	known.Phase, known.Attempt, known.At, known.Cause = e.Phase, e.Attempt, millis(e.At), e.Cause
	known.news = false
	if e.Phase == phaseDone {
		j.all = slices.DeleteFunc(j.all, func(e *entryOf) bool { return e == known })
	}
	return known.atWork
}

// phaseDone is the phase in which a job was reported.
const phaseDone = "done"

func (j *jobs) progress(e event.Progress) {
	known := j.find(e.Job)
	if known == nil {
		return
	}
	known.At, known.Percent, known.Node, known.Class, known.Title = millis(e.At), e.Percent, e.Node, e.Class, e.Title
	known.Step, known.Steps, known.Left = e.Step, e.Steps, e.Left.Milliseconds()
	if e.Preview != nil {
		known.picture = e.Preview
		known.Preview++
	}
	known.news = true
}

func (j *jobs) waits() bool {
	return slices.ContainsFunc(j.all, func(e *entryOf) bool { return e.news })
}

// flush returns the jobs that have come further since.
func (j *jobs) flush() (moved []atWork) {
	for _, e := range j.all {
		if e.news {
			moved, e.news = append(moved, e.atWork), false
		}
	}
	return moved
}

// picture is the latest of a job's unfinished work, nil if there is none.
func (j *jobs) picture(id string) *event.Preview {
	if e := j.find(id); e != nil {
		return e.picture
	}
	return nil
}

func (j *jobs) clear() { j.all = nil }

func (j *jobs) list() []atWork {
	all := make([]atWork, len(j.all))
	for i, e := range j.all {
		all[i] = e.atWork
	}
	return all
}
