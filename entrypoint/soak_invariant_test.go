package main

import "fmt"

// A soakInvariant is something that holds whatever happens.
type soakInvariant string

// What the soak asserts.
const (
	soakEnds   soakInvariant = "each job that was handed out has one end, which its pod tells"
	soakOnce   soakInvariant = "nothing is run again unless it was lost"
	soakOwn    soakInvariant = "nothing of a job is in another's result"
	soakBytes  soakInvariant = "a completed job has ComfyUI's files, by number, order, name and SHA-256"
	soakCauses soakInvariant = "a failed job has a lawful cause and a message"
	soakReaped soakInvariant = "no zombie stays, and no process outlives its pod"
	soakFlat   soakInvariant = "at rest there are as many descriptors, goroutines, files and processes as at first"
	soakExits  soakInvariant = "a pod ends by 0 or 143 after SIGTERM, and not by itself"
	soakQuiet  soakInvariant = "the log has no panic and no lost exit status"
	soakSecret soakInvariant = "no log, result, file, environment or command line tells a secret"
	soakCalls  soakInvariant = "while something fails, no pod asks it more than 20 times a second"
	soakLives  soakInvariant = "without faults the backlog empties, and ComfyUI is ready again"
)

func soakInvariants() []soakInvariant {
	return []soakInvariant{soakEnds, soakOnce, soakOwn, soakBytes, soakCauses, soakReaped, soakFlat, soakExits, soakQuiet, soakSecret, soakCalls, soakLives}
}

// A soakWrong is a breach of an invariant.
type soakWrong struct {
	of   soakInvariant
	text string
}

type soakWrongs []soakWrong

func (w *soakWrongs) say(of soakInvariant, format string, args ...any) {
	*w = append(*w, soakWrong{of, fmt.Sprintf(format, args...)})
}

// wrong fails the test, as an invariant does not hold.
func (s *soak) wrong(of soakInvariant, format string, args ...any) {
	s.t.Helper()
	s.counts.broken[of]++
	s.t.Errorf(format, args...)
}
