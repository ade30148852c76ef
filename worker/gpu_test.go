package worker

import (
	"testing"
)

// A job that ends the worker thread of two processes is to blame for both, and
// not the host, though its lines come before the event that it has started.
func TestLinesBeforeTheStartOfAJobAreItsOwn(t *testing.T) {
	condemned := 0
	s := &Slot{
		Condemn: func(error) { condemned++ },
		GiveUp:  func(reason error) { t.Errorf("the pod was given up: %v", reason) },
	}
	for attempt := 1; attempt <= attempts; attempt++ {
		s.Launched()
		s.gpu.submitted("a")
		if got := s.Running(); got != "a" {
			t.Errorf("attempt %d: %q runs, want a", attempt, got)
		}
		s.Told("Exception in thread Thread-1 (prompt_worker):")
		s.gpu.ended("a")
		if condemned != attempt {
			t.Errorf("attempt %d: condemned %d times", attempt, condemned)
		}
	}
	if got := s.Running(); got != "" {
		t.Errorf("%q runs, want none", got)
	}
}
