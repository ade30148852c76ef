package supervisor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// ErrCrashLoop says that the process ended again and again before it was ever
// ready. The error that wraps it wraps the last Exit too.
var ErrCrashLoop = errors.New("crash loop")

// A Policy decides how long to wait before the next start. It is a value
// without memory: what it decides depends on the exits that it is shown.
type Policy struct {
	// First is the wait after the second failure in a row. There is none after
	// the first, and it doubles with each further one, up to Max.
	First, Max time.Duration
	// Healthy is how long a process has to be ready for its end to count as the
	// first failure again. A finished job does the same.
	Healthy time.Duration
	// Boots is how many failures in a row, none of which was ever ready, are a
	// crash loop.
	Boots int
	// Free is how many times within Window the process may end with code 0, as
	// it does to be restarted, without that being a failure.
	Free   int
	Window time.Duration
	// Jitter is the share by which a wait is lengthened or shortened at random.
	// Next does not apply it.
	Jitter float64
}

// DefaultPolicy waits 0, 0.5, 1, 2 and so on up to 30 s, give or take 20 %.
func DefaultPolicy() Policy {
	return Policy{
		First:   500 * time.Millisecond,
		Max:     30 * time.Second,
		Healthy: time.Minute,
		Boots:   5,
		Free:    3,
		Window:  time.Minute,
		Jitter:  0.2,
	}
}

// Next returns the wait before the next start, given the exits so far, oldest
// first, of which there must be one. The error wraps ErrCrashLoop and the last
// Exit: another start is of no use.
func (p Policy) Next(exits []Exit) (time.Duration, error) {
	if !p.failure(exits) {
		return 0, nil
	}
	failures, boots := p.streak(exits)
	if boots >= p.Boots {
		return 0, fmt.Errorf("%w: %d starts in a row never became ready, the last one: %w",
			ErrCrashLoop, boots, exits[len(exits)-1])
	}
	if failures == 1 {
		return 0, nil
	}
	delay := p.First
	for range failures - 2 {
		if delay >= p.Max {
			break
		}
		delay *= 2
	}
	return min(delay, p.Max), nil
}

// streak counts the failures since the last good run, that one included, and
// how many of the latest were boots that never became ready.
func (p Policy) streak(exits []Exit) (failures, boots int) {
	booting := true
	for i := len(exits) - 1; i >= 0; i-- {
		booting = booting && !exits[i].WasReady
		if p.failure(exits[:i+1]) {
			failures++
			if booting {
				boots++
			}
		}
		if exits[i].Worked || exits[i].ReadyFor >= p.Healthy {
			break
		}
	}
	return failures, boots
}

// failure tells whether the last of the exits counts against the process.
func (p Policy) failure(exits []Exit) bool {
	last := exits[len(exits)-1]
	if last.Planned {
		return false
	}
	if !last.voluntary() {
		return true
	}
	recent := 0
	for _, e := range exits {
		if e.voluntary() && last.At.Sub(e.At) < p.Window {
			recent++
		}
	}
	return recent > p.Free
}

// jitter applies p.Jitter, so that pods that broke together do not come back
// together.
func (p Policy) jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + p.Jitter*(2*rand.Float64()-1)))
}
