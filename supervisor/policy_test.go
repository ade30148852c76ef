package supervisor

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPolicyNext(t *testing.T) {
	var (
		start   = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		boot    = Exit{Code: 1}
		soon    = Exit{Code: 1, WasReady: true, ReadyFor: time.Second}
		healthy = Exit{Signal: unix.SIGKILL, WasReady: true, ReadyFor: time.Minute}
		worked  = Exit{Signal: unix.SIGKILL, WasReady: true, ReadyFor: time.Second, Worked: true}
		planned = Exit{Planned: true, Stopped: "asked"}
		used    = Exit{Planned: true, Stopped: "asked", WasReady: true, Worked: true}
		free    = Exit{}
		noGood  = Exit{Signal: unix.SIGTERM, Stopped: "no answer", Cause: errors.New("no answer")}
		noFork  = Exit{Err: unix.EAGAIN}
	)
	repeat := func(n int, e Exit) []Exit {
		var exits []Exit
		for range n {
			exits = append(exits, e)
		}
		return exits
	}
	tests := []struct {
		name  string
		exits []Exit
		every time.Duration // between two exits
		want  time.Duration
		loop  bool
	}{
		{name: "first failed boot", exits: repeat(1, boot), want: 0},
		{name: "second failed boot", exits: repeat(2, boot), want: 500 * time.Millisecond},
		{name: "third failed boot", exits: repeat(3, boot), want: time.Second},
		{name: "fourth failed boot", exits: repeat(4, boot), want: 2 * time.Second},
		{name: "fifth failed boot", exits: repeat(5, boot), loop: true},
		{name: "process that cannot be forked", exits: repeat(5, noFork), loop: true},
		{name: "watch that never finds it ready", exits: repeat(5, noGood), loop: true},
		{name: "ready and dead again and again", exits: repeat(5, soon), want: 4 * time.Second},
		{name: "ready and dead for ever", exits: repeat(60, soon), want: 30 * time.Second},
		{name: "boots after one that was ready", exits: append(repeat(1, soon), repeat(4, boot)...), want: 4 * time.Second},
		{name: "one ready between boots", exits: append(append(repeat(4, boot), soon), repeat(4, boot)...), want: 30 * time.Second},
		{name: "after a minute ready", exits: append(repeat(4, boot), healthy), want: 0},
		{name: "after a job", exits: append(repeat(4, soon), worked), want: 0},
		{name: "second after a job", exits: []Exit{worked, soon}, want: 500 * time.Millisecond},
		{name: "planned", exits: append(repeat(4, boot), planned), want: 0},
		{name: "planned between boots changes nothing", exits: append(append(repeat(3, boot), planned), boot), want: 2 * time.Second},
		{name: "planned after a job forgives", exits: append(append(repeat(3, boot), used), boot), want: 0},
		{name: "planned for ever", exits: repeat(60, planned), want: 0},
		{name: "third free restart in a minute", exits: repeat(3, free), every: 29 * time.Second, want: 0},
		{name: "fourth free restart in a minute", exits: repeat(4, free), every: 19 * time.Second, want: 0},
		{name: "fifth free restart in a minute", exits: repeat(5, free), every: 10 * time.Second, want: 500 * time.Millisecond},
		{name: "free restarts in a tight loop", exits: repeat(8, free), loop: true},
		{name: "free restarts far apart", exits: repeat(60, free), every: 20 * time.Second, want: 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.exits {
				tt.exits[i].At = start.Add(time.Duration(i) * tt.every)
			}
			got, err := DefaultPolicy().Next(tt.exits)
			if errors.Is(err, ErrCrashLoop) != tt.loop || (err != nil) != tt.loop || got != tt.want {
				t.Errorf("Next = %v, %v, want %v, crash loop %v", got, err, tt.want, tt.loop)
			}
			var last Exit
			if tt.loop && !errors.As(err, &last) {
				t.Errorf("%v does not wrap the last exit", err)
			}
		})
	}
}

func TestPolicyJitterStaysWithinItsShare(t *testing.T) {
	p := DefaultPolicy()
	lowest, highest := time.Hour, time.Duration(0)
	for range 10000 {
		d := p.jitter(10 * time.Second)
		lowest, highest = min(lowest, d), max(highest, d)
	}
	if lowest < 8*time.Second || highest > 12*time.Second {
		t.Errorf("jitter of 10 s between %v and %v, want between 8 and 12 s", lowest, highest)
	}
	if lowest > 9*time.Second || highest < 11*time.Second {
		t.Errorf("jitter of 10 s between %v and %v only: no jitter to speak of", lowest, highest)
	}
	if d := p.jitter(0); d != 0 {
		t.Errorf("jitter of 0 = %v", d)
	}
}
