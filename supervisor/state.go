package supervisor

import (
	"time"

	"go.uber.org/zap"
)

// A State is what the supervisor is about. The table of the package comment
// lists how one follows another.
type State string

// The states.
const (
	StateStopped     State = "stopped"
	StateRunning     State = "running"
	StateTerminating State = "terminating"
	StateKilling     State = "killing"
	StateBackoff     State = "backoff"
	StateFailed      State = "failed"
)

// A Transition is a change of state.
type Transition struct {
	From, To    State
	Incarnation int
	At          time.Time
	// Exit is the end of the incarnation, if that is what changed the state.
	Exit *Exit
	// Reason is for people.
	Reason string
}

// Status is a copy of what the supervisor knows of the process.
type Status struct {
	State       State
	Incarnation int
	// PID is 0 unless there is a process.
	PID     int
	Started time.Time
	// LastExit is nil until the first incarnation has ended.
	LastExit *Exit
	// Restarts counts the starts after the first.
	Restarts int
	// BackoffUntil is when the next start is due, zero unless in backoff.
	BackoffUntil time.Time
}

// marks are what others told of the present incarnation.
type marks struct {
	ready  time.Time // zero if it never was
	worked bool
}

// enter changes the state. It is called from Run's goroutine only, which may
// therefore read the state without the lock.
func (s *Supervisor) enter(to State, reason string, change func(*Status)) {
	s.mu.Lock()
	t := Transition{From: s.status.State, To: to, At: time.Now(), Reason: reason}
	s.status.State = to
	if change != nil {
		change(&s.status)
	}
	t.Incarnation = s.status.Incarnation
	if to == StateBackoff || to == StateStopped || to == StateFailed {
		t.Exit = s.status.LastExit
	}
	pid := s.status.PID
	s.mu.Unlock()

	log := s.log.Info
	if to == StateFailed {
		log = s.log.Error
	}
	log("process "+string(to), zap.Int("incarnation", t.Incarnation),
		zap.Int("pid", pid), zap.String("reason", reason))
	s.cfg.Observe(t)
}
