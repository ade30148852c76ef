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

// With a prompt waiting behind the running one, the line that the worker thread
// has ended may be here before the events that the first has ended and the second
// begun. The second, which ends that of the next process as well, is to blame, and
// not the host.
func TestLinesOfAJobBehindTheRunningOneBlameNoHost(t *testing.T) {
	const line = "Exception in thread Thread-1 (prompt_worker):"
	condemned := 0
	s := &Slot{
		Condemn: func(error) { condemned++ },
		GiveUp:  func(reason error) { t.Errorf("the pod was given up: %v", reason) },
	}
	s.Launched()
	s.gpu.submitted("good")
	s.gpu.submitted("poison")
	s.gpu.started("good")
	s.Told(line)
	s.gpu.ended("good")
	s.gpu.succeeded()
	s.gpu.ended("poison")
	s.Launched()
	s.gpu.submitted("poison")
	s.Told(line)
	if condemned != 2 {
		t.Errorf("condemned %d times, want 2", condemned)
	}
}
