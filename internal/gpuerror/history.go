package gpuerror

import "slices"

// An Action is what a finding asks for after what came before it.
type Action int

const (
	// None leaves ComfyUI as it is. The job has failed by itself, if it did.
	None Action = iota
	// FreeMemory asks ComfyUI to unload its models: POST /free with
	// unload_models and free_memory.
	FreeMemory
	// Probe asks ComfyUI something that makes it call CUDA. If it does not answer
	// well, Next wants the finding again, Confirmed.
	Probe
	// Relaunch replaces the process. The job at hand fails. Asked for twice it is
	// the same relaunch, and so is Rerun.
	Relaunch
	// Rerun replaces the process and gives the job at hand, if there is one, one
	// more run.
	Rerun
	// GiveUp ends this pod, because the fault is the host's: no further job, a
	// job at hand may finish, no relaunch.
	GiveUp
)

// String returns the action in lower case, for logs and metrics.
func (a Action) String() string {
	return [...]string{"none", "free memory", "probe", "relaunch", "rerun", "give up"}[a]
}

// oomLimit is how many jobs in a row may run out of memory in one process: what
// a poisoned process says about its memory cannot be believed.
const oomLimit = 3

// A History is what the findings of one ComfyUI, from process to process, add up
// to. It is a value: each method returns the next one. The zero value is that of
// a pod whose first process starts.
type History struct {
	// Of the running process:
	ending   Action // Relaunch, Rerun or GiveUp once one is decided
	endJob   string // the job that it was decided on
	served   bool   // a job has succeeded in it
	ooms     int    // so many jobs in a row ran out of memory
	oomJob   string // the last of them
	doubtJob string // the last job failed by an error that nobody could place

	// Of those before it as well:
	poisoned  bool     // one was poisoned, and no job has succeeded since
	poisoners []string // the last jobs of which one ran as it was poisoned
	suspect   string   // the last job that may have poisoned another ComfyUI
}

// Launched returns the history when a process starts, whatever ended the last.
func (h History) Launched() History {
	return History{poisoned: h.poisoned, poisoners: h.poisoners, suspect: h.suspect}
}

// Succeeded returns the history after a job that ComfyUI finished well.
func (h History) Succeeded() History {
	if h.ending != None {
		return h
	}
	return History{served: true, poisoners: h.poisoners, suspect: h.suspect}
}

// Poisoned tells whether job may have poisoned a process, so that the next one that
// it poisons is its doing.
func (h History) Poisoned(job string) bool {
	return job == h.suspect || slices.Contains(h.poisoners, job)
}

// Suspect returns the history of a ComfyUI that gets a job which may have poisoned
// another one, where there are several.
func (h History) Suspect(job string) History {
	h.suspect = job
	return h
}

// Next returns what to do about a finding, met while job ran ("" for none). One
// fault is often told several times, by an exception, by lines and by the
// kernel. So once a process is to end, the job it was decided on gets the same
// answer again, and another job that the GPU fails in it a rerun. Lines outside
// of jobs ask for nothing more, unless the GPU is lost.
//
// A line does not say which job it is of. Behind are those that may have followed
// job unseen: the next process that one of them poisons is its doing, and not the
// host's.
func (h History) Next(f Finding, job string, behind ...string) (Action, History) {
	if h.ending != None && f.Verdict != Lost {
		return h.again(f, job), h
	}
	switch f.Verdict {
	case Unknown:
		return h.doubt(None, job, behind)
	case Suspect:
		return h.doubt(Probe, job, behind)
	case Free:
		return h.outOfMemory(job)
	case Restart:
		return h.poison(job, behind)
	case Host:
		if job == "" && !h.served {
			return h.end(GiveUp, job)
		}
		return h.poison(job, behind)
	case Lost:
		return h.end(GiveUp, job)
	default:
		return None, h
	}
}

func (h History) again(f Finding, job string) Action {
	switch {
	case f.Verdict == Leave || job == "":
		return None
	case job == h.endJob || h.ending == GiveUp:
		return h.ending
	default:
		return Rerun
	}
}

// doubt takes the first error that nobody can place for the job's own, and one
// of another job right after it for the process's.
func (h History) doubt(first Action, job string, behind []string) (Action, History) {
	if h.doubtJob != "" && job != "" && job != h.doubtJob {
		return h.poison(job, behind)
	}
	if job != "" {
		h.doubtJob = job
	}
	return first, h
}

func (h History) outOfMemory(job string) (Action, History) {
	if job != "" && job != h.oomJob {
		h.ooms++
		h.oomJob = job
	}
	if h.ooms >= oomLimit {
		return h.end(Relaunch, job)
	}
	return FreeMemory, h
}

// poison tells the three who may be at fault apart. A job that poisons a second
// process is to blame. Two processes in a row that did nothing but get poisoned,
// by whatever else, are the host's. Else it may have been chance.
func (h History) poison(job string, behind []string) (Action, History) {
	action := Rerun
	switch {
	case job != "" && h.Poisoned(job):
		action = Relaunch
	case h.poisoned:
		action = GiveUp
	}
	h.poisoned = true
	if job != "" {
		h.poisoners = append([]string{job}, behind...)
	}
	return h.end(action, job)
}

func (h History) end(a Action, job string) (Action, History) {
	h.ending, h.endJob = a, job
	return a, h
}
