package comfy

import (
	"testing"
	"time"
)

func TestPaceSpacesQuestions(t *testing.T) {
	type step struct {
		after time.Duration // since the start
		ask   bool          // else an event, with its
		mark  mark
		due   time.Duration // since the start, after it
	}
	const ms = time.Millisecond
	heard := func(after, due time.Duration) step { return step{after: after, due: due} }
	marked := func(after time.Duration, m mark, due time.Duration) step {
		return step{after: after, mark: m, due: due}
	}
	asked := func(after, due time.Duration) step { return step{after: after, ask: true, due: due} }
	const atOnce = -1

	tests := []struct {
		name  string
		steps []step
	}{
		{"each 2 s while silent, each 1 s after 10 s", []step{
			asked(2*time.Second, 4*time.Second), asked(4*time.Second, 6*time.Second), asked(6*time.Second, 8*time.Second),
			asked(8*time.Second, 10*time.Second), asked(10*time.Second, 11*time.Second), asked(11*time.Second, 12*time.Second),
		}},
		{"an event puts the question off", []step{heard(1500*ms, 3500*ms), asked(3500*ms, 5500*ms), heard(5*time.Second, 7*time.Second)}},
		{"an event ends the long silence", []step{asked(11*time.Second, 12*time.Second), heard(11500*ms, 13500*ms)}},
		{"the end is asked about at once", []step{marked(700*ms, endMark, atOnce), asked(701*ms, 711*ms), asked(711*ms, 731*ms), asked(731*ms, 771*ms)}},
		{"success gives the end 10 ms to come", []step{marked(700*ms, doneMark, 710*ms), marked(701*ms, endMark, atOnce)}},
		{"steps double up to 320 ms", []step{
			marked(0, doneMark, 10*ms), asked(10*ms, 30*ms), asked(30*ms, 70*ms), asked(70*ms, 150*ms), asked(150*ms, 310*ms),
			asked(310*ms, 630*ms), asked(630*ms, 950*ms), asked(950*ms, 1270*ms),
		}},
		{"a second end does not start over", []step{marked(0, endMark, atOnce), asked(10*ms, 20*ms), asked(20*ms, 40*ms), marked(30*ms, endMark, 40*ms), marked(31*ms, hintMark, 40*ms)}},
		{"a hint is dropped after 5 s", []step{marked(0, hintMark, 10*ms), asked(10*ms, 30*ms), asked(5*time.Second, 7*time.Second)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			p := pace{silence: 2 * time.Second, heard: start}
			for i, s := range tt.steps {
				if s.ask {
					p.ask(start.Add(s.after))
				} else {
					p.hear(start.Add(s.after), s.mark)
				}
				got := p.due()
				if s.due == atOnce {
					if !got.IsZero() {
						t.Errorf("step %d: due %v after the start, want at once", i, got.Sub(start))
					}
				} else if want := start.Add(s.due); !got.Equal(want) {
					t.Errorf("step %d: due %v after the start, want %v", i, got.Sub(start), s.due)
				}
			}
		})
	}
}

func TestPaceOverdue(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct {
		mark  mark
		after time.Duration
		want  bool
	}{{noMark, time.Hour, false}, {hintMark, time.Hour, false}, {doneMark, 4 * time.Second, false}, {doneMark, settleFor, true}, {endMark, settleFor, true}} {
		p := pace{silence: time.Second}
		p.hear(start, tt.mark)
		if got := p.overdue(start.Add(tt.after)); got != tt.want {
			t.Errorf("mark %d after %v: overdue %t, want %t", tt.mark, tt.after, got, tt.want)
		}
	}
}

func TestReconnectDelay(t *testing.T) {
	r := Reconnect{Attempts: 3, Delay: time.Second}
	for attempt, want := range map[int]time.Duration{0: 0, 1: 0, 2: time.Second, 3: time.Second} {
		if got, more := r.delay(attempt); got != want || !more {
			t.Errorf("attempt %d: %v, %t; want %v", attempt, got, more, want)
		}
	}
	if _, more := r.delay(4); more {
		t.Error("there is a fourth attempt of three")
	}
	none := Reconnect{Attempts: -1}
	if _, first := none.delay(0); !first {
		t.Error("without further attempts the first socket is not opened either")
	}
	if _, more := none.delay(1); more {
		t.Error("there is an attempt of none")
	}
}
