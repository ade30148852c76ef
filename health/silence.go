package health

import "time"

// A Silence measures how long something has shown no sign of life. Only time
// in which the measuring side was awake counts: after a freeze of the whole
// container the first look must not be a verdict. It belongs to one goroutine.
type Silence struct {
	activity func() uint64
	seen     uint64
	last     time.Time
	total    time.Duration
}

// NewSilence begins to measure. Activity returns a number that changes with
// each sign of life.
func NewSilence(activity func() uint64) *Silence {
	return &Silence{activity: activity, seen: activity(), last: time.Now()}
}

// Tick returns the silence up to now. Of the time since the last tick at most
// longest counts: more means that nobody was awake to look.
func (s *Silence) Tick(longest time.Duration) time.Duration {
	passed := time.Since(s.last)
	s.last = time.Now()
	if now := s.activity(); now != s.seen {
		s.seen = now
		s.total = 0
	} else {
		s.total += min(passed, longest)
	}
	return s.total
}

// Reset begins anew, after a sign of life that activity does not count. It does not
// look at activity, which may be costly.
func (s *Silence) Reset() { s.total, s.last = 0, time.Now() }
