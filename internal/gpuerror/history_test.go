package gpuerror

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// An event is one thing that a History hears of, and what it should say to it.
type event struct {
	what string // launched, succeeded, or a verdict
	job  string // with those behind it after blanks
	want Action
}

// happen tells h of an event and returns its answer, None for what it only notes.
func happen(h History, what, job string) (Action, History) {
	switch what {
	case "launched":
		return None, h.Launched()
	case "succeeded":
		return None, h.Succeeded()
	case "suspect of another":
		return None, h.Suspect(job)
	}
	for v := Leave; v <= Lost; v++ {
		if v.String() == what {
			jobs := strings.Split(job, " ")
			return h.Next(Finding{Verdict: v}, jobs[0], jobs[1:]...)
		}
	}
	panic(what)
}

func TestHistory(t *testing.T) {
	launched, succeeded := event{what: "launched"}, event{what: "succeeded"}
	tests := []struct {
		name   string
		events []event
	}{
		{"a job's own error", []event{{"leave", "a", None}, {"leave", "b", None}, {"leave", "c", None}}},

		{"the third job out of memory in a row", []event{{"free", "a", FreeMemory}, {"free", "b", FreeMemory}, {"free", "c", Relaunch}, launched, {"free", "d", FreeMemory}}},
		{"a success between", []event{{"free", "a", FreeMemory}, {"free", "b", FreeMemory}, succeeded, {"free", "c", FreeMemory}, {"free", "d", FreeMemory}, {"free", "e", Relaunch}}},
		{"one job told three times", []event{{"free", "a", FreeMemory}, {"free", "a", FreeMemory}, {"free", "a", FreeMemory}, {"free", "", FreeMemory}}},
		{"another process between", []event{{"free", "a", FreeMemory}, {"free", "b", FreeMemory}, launched, {"free", "c", FreeMemory}}},

		{"two unknown errors of two jobs", []event{{"unknown", "a", None}, {"unknown", "b", Rerun}}},
		{"two unknown errors of one job", []event{{"unknown", "a", None}, {"unknown", "a", None}, {"unknown", "", None}}},
		{"unknown errors with a success between", []event{{"unknown", "a", None}, succeeded, {"unknown", "b", None}}},
		{"a suspect after an unknown error", []event{{"unknown", "a", None}, {"suspect", "b", Rerun}}},
		{"a suspect", []event{{"suspect", "a", Probe}, {"leave", "a", None}}},
		{"a suspect who did not pass", []event{{"suspect", "a", Probe}, {"restart", "a", Rerun}}},

		{"poisoned once", []event{{"restart", "a", Rerun}, launched, succeeded, {"restart", "b", Rerun}}},
		{"one poison told by many", []event{{"restart", "a", Rerun}, {"restart", "a", Rerun}, {"free", "a", Rerun}, {"restart", "", None}, {"host", "", None}, launched, succeeded}},
		{"first told by a line outside of jobs", []event{{"restart", "", Rerun}, {"restart", "a", Rerun}, {"leave", "b", None}}},
		{"another job in the poisoned process", []event{{"restart", "a", Rerun}, launched, {"restart", "a", Relaunch}, {"restart", "b", Rerun}, {"restart", "a", Relaunch}}},
		{"poisoned twice by one job", []event{{"restart", "a", Rerun}, launched, {"restart", "a", Relaunch}, launched, succeeded}},
		{"poisoned twice by one job with a good one between", []event{{"restart", "a", Rerun}, launched, succeeded, {"restart", "a", Relaunch}}},
		{"poisoned by a job that had poisoned another ComfyUI", []event{{"suspect of another", "a", None}, {"restart", "a", Relaunch}, launched, succeeded}},
		{"the same behind the poison of a third", []event{{"restart", "b", Rerun}, {"suspect of another", "a", None}, launched, {"restart", "a", Relaunch}}},
		{"a suspect of another is well", []event{{"suspect of another", "a", None}, succeeded, {"restart", "b", Rerun}, launched, {"restart", "c", GiveUp}}},
		{"poisoned twice by two jobs", []event{{"restart", "a", Rerun}, launched, {"restart", "b", GiveUp}}},
		{"poisoned again before any job", []event{{"restart", "a", Rerun}, launched, {"restart", "", GiveUp}}},
		{"poisoned by one job twice, then by another", []event{{"restart", "a", Rerun}, launched, {"restart", "a", Relaunch}, launched, {"restart", "b", GiveUp}}},
		{"poisoned by one job, idle, then by that job again", []event{{"restart", "a", Rerun}, launched, succeeded, {"restart", "", Rerun}, launched, {"restart", "a", Relaunch}}},
		{"laid to the job before the one that did it", []event{{"restart", "a b", Rerun}, {"restart", "b", Rerun}, launched, {"restart", "b", Relaunch}, launched, succeeded}},
		{"laid to the job before, which then runs well", []event{{"restart", "a b", Rerun}, launched, succeeded, {"restart", "b", Relaunch}, launched, succeeded}},
		{"a job with another behind it, then that one and a third", []event{{"restart", "a b", Rerun}, launched, {"restart", "b", Relaunch}, launched, {"restart", "c", GiveUp}}},
		{"poisoned by whatever runs, and jobs behind", []event{{"restart", "a b", Rerun}, launched, {"restart", "c d", GiveUp}}},
		{"a late success of the old process", []event{{"restart", "a", Rerun}, succeeded, launched, {"restart", "", GiveUp}}},
		{"out of memory is no poison", []event{{"free", "a", FreeMemory}, {"free", "b", FreeMemory}, {"free", "c", Relaunch}, launched, {"restart", "d", Rerun}}},

		{"the host at start", []event{launched, {"host", "", GiveUp}}},
		{"the host in the middle of work", []event{succeeded, {"host", "a", Rerun}, launched, {"host", "", GiveUp}}},
		{"the host between jobs", []event{succeeded, {"host", "", Rerun}, launched, succeeded, {"host", "", Rerun}}},
		{"the host, says one job only", []event{{"host", "a", Rerun}, launched, {"host", "a", Relaunch}, launched, succeeded}},
		{"the host, say two jobs", []event{{"host", "a", Rerun}, launched, {"host", "b", GiveUp}}},
		{"lost in the middle of work", []event{succeeded, {"lost", "a", GiveUp}, {"restart", "a", GiveUp}, {"restart", "", None}}},
		{"lost while a relaunch is due", []event{{"restart", "a", Rerun}, {"lost", "", GiveUp}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h History
			for i, e := range tt.events {
				var got Action
				if got, h = happen(h, e.what, e.job); got != e.want {
					t.Fatalf("event %d, %s of job %q: got %s, want %s", i, e.what, e.job, got, e.want)
				}
			}
		})
	}
}

// Whatever happens: no job is the reason for two reruns in a row, the job that
// ended a process is always answered the same, and nothing but the GPU ends a pod.
func TestHistoryIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h History
		grave, last := false, ""
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			what := rapid.SampledFrom([]string{"launched", "succeeded", "leave", "unknown", "suspect", "free", "restart", "host", "lost"}).Draw(t, "what")
			job := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "job")
			grave = grave || what != "leave" && what != "free"
			before := h.ending
			var action Action
			action, h = happen(h, what, job)
			switch {
			case action == GiveUp:
				if !grave {
					t.Fatalf("%s of job %q ends the pod after mere lack of memory", what, job)
				}
				return
			case before == None && action == Rerun && job != "":
				if job == last {
					t.Fatalf("%s: job %q is the reason for a second rerun", what, job)
				}
				last = job
			case before != None && before == h.ending && job != "" && job == h.endJob && action != before && action != None:
				t.Fatalf("%s of job %q: got %s, after %s", what, job, action, before)
			}
		}
	})
}
