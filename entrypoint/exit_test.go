package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestExitCode(t *testing.T) {
	cause := errors.New("cause")
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"nothing went wrong", nil, 0},
		{"told to stop", context.Canceled, 0},
		{"told to stop, wrapped", fmt.Errorf("run: %w", context.Canceled), 0},
		{"unknown error", cause, 70},
		{"deadline of ours", context.DeadlineExceeded, 70},
		{"configuration", exitWith(exitConfig, cause), 78},
		{"no GPU", exitWith(exitNoGPU, cause), 69},
		{"gave up", exitWith(exitGaveUp, cause), 75},
		{"job abandoned", exitWith(exitAbandoned, context.Canceled), 143},
		{"job failed", exitWith(exitJobFailed, cause), 1},
		{"refreshed", exitWith(exitDone, cause), 0},
		{"wrapped", fmt.Errorf("start: %w", exitWith(exitConfig, cause)), 78},
		{"joined", errors.Join(cause, exitWith(exitGaveUp, cause)), 75},
		{"outer code counts", exitWith(exitAbandoned, exitWith(exitGaveUp, cause)), 143},
		{"code for nothing", exitWith(exitConfig, nil), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	if err := exitWith(exitConfig, cause); !errors.Is(err, cause) || err.Error() != "cause" {
		t.Errorf("got %v, want the cause and its text", err)
	}
}

func TestEveryExitCodeIsExplainedOnce(t *testing.T) {
	seen := make(map[int]bool)
	for _, c := range exitCodes {
		if seen[c.code] || c.code == 2 || c.meaning == "" {
			t.Errorf("%d: explained twice, not at all, or the runtime's", c.code)
		}
		seen[c.code] = true
	}
	for _, code := range []int{exitDone, exitJobFailed, exitNoGPU, exitInternal, exitGaveUp, exitConfig, exitAbandoned} {
		if !seen[code] {
			t.Errorf("%d is not explained", code)
		}
	}
}
