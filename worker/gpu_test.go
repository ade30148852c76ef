package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
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

// The line that a kernel's assertion has failed leaves the node at work a moment to
// raise it. It is not forgotten, and not held against the next process.
func TestTheNodeMayRaiseWhatALineTold(t *testing.T) {
	const line = "/pytorch/aten/src/ATen/native/cuda/IndexKernel.cu:111: operator(): block: [0,0,0], thread: [0,0,0] Assertion `-sizes[i] <= index && index < sizes[i]` failed."
	for _, tt := range []struct {
		name       string
		runs       bool
		after      func(s *Slot)
		now, later int64
	}{
		{"no job runs", false, func(*Slot) {}, 1, 1},
		{"nothing is raised", true, func(*Slot) {}, 0, 1},
		{"the job ends well", true, func(s *Slot) { s.execute() }, 1, 1},
		{"the process is replaced", true, (*Slot).Launched, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var condemned atomic.Int64
				s := &Slot{Condemn: func(error) { condemned.Add(1) }, GiveUp: func(reason error) { t.Error(reason) }}
				s.Launched()
				if tt.runs {
					s.gpu.started("a")
				}
				for range 32 { // threads of a warp
					s.Told(line)
				}
				tt.after(s)
				if got := condemned.Load(); got != tt.now {
					t.Errorf("condemned %d times at once, want %d", got, tt.now)
				}
				time.Sleep(2 * raiseNotice)
				if got := condemned.Load(); got != tt.later {
					t.Errorf("condemned %d times in the end, want %d", got, tt.later)
				}
			})
		})
	}
}

// A process whose prompt could not be stopped is spared while it may be at work on
// another job: also on one that waits, where ComfyUI answers nothing. It has to go
// when it says itself that it runs the canceled one, unless that had no time to end.
func TestWhoIsSparedWhenAPromptIsNotStopped(t *testing.T) {
	silent := context.DeadlineExceeded
	for _, tt := range []struct {
		name      string
		waits     bool
		runs      bool
		err       error
		wantSpare bool
	}{
		{"alone", false, false, silent, false},
		{"alone and it still runs", false, false, comfy.ErrStillRuns, false},
		{"alone and there was no time to see", false, false, comfy.ErrUnsure, true},
		{"another waits", true, false, silent, true},
		{"another waits for this one", true, false, comfy.ErrStillRuns, false},
		{"another runs", true, true, silent, true},
		{"another is told to run as well", true, true, comfy.ErrStillRuns, true},
	} {
		s := new(Slot)
		a := &attempt{slot: s}
		s.gpu.submitted("canceled")
		s.gpu.started("canceled")
		if tt.waits {
			s.gpu.submitted("other")
		}
		s.gpu.ended("canceled")
		if tt.runs {
			s.gpu.started("other")
		}
		if got := a.spares(tt.err); got != tt.wantSpare {
			t.Errorf("%s: spared %v, want %v", tt.name, got, tt.wantSpare)
		}
	}
}
