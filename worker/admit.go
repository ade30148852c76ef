package worker

import (
	"context"
	"errors"

	"github.com/comfyvisor/comfyvisor/health"
)

// admit waits until the slot has room for a share of it and its gate is open.
// Inside ends when the gate closes, with the reason as its cause.
func (s *Slot) admit(ctx context.Context, share int64) (inside context.Context, leave func(), err error) {
	if s.room.Acquire(ctx, share) != nil {
		return nil, nil, context.Cause(ctx)
	}
	inside, out, err := s.Gate.Enter(ctx)
	if err != nil {
		s.room.Release(share)
		return nil, nil, err
	}
	return inside, func() { out(); s.room.Release(share) }, nil
}

// admit lets the job into its slot for an attempt. Another one than the first
// wants a ComfyUI for itself, and goes to whichever is the first to have room:
// the one that was lost may take minutes to come back, or never do. So does one
// whose slot was given up before it had begun.
func (l *life) admit(n int) (inside context.Context, leave func(), err error) {
	if n == 1 {
		inside, leave, err = l.slot.admit(l.ctx, 1)
		if !errors.Is(err, health.ErrGivenUp) {
			return inside, leave, err
		}
	}
	slots := l.w.cfg.Slots
	if l.w.cfg.Refresh != RefreshNone {
		slots = []*Slot{l.slot} // which is the one that is restarted afterwards
	}
	first := l.race(slots)
	if first.err != nil {
		return nil, nil, first.err
	}
	l.slot = first.slot
	l.atEnd(first.free)
	return first.inside, first.leave, nil
}

// admission is the answer of one slot.
type admission struct {
	slot   *Slot
	inside context.Context
	leave  func() // the slot, for other jobs
	free   func() // it, for a restart
	err    error
}

// race asks all slots and takes the first that lets the job in. If none ever
// does the error is the last one's.
func (l *life) race(slots []*Slot) (first admission) {
	answers := make(chan admission)
	ends := make(map[*Slot]context.CancelFunc, len(slots))
	for _, s := range slots {
		ctx, end := context.WithCancel(l.ctx)
		ends[s] = end
		go func() {
			var a admission
			if err := contained(l.log, "a job waited for a slot", func() { a = l.apply(ctx, s) }); err != nil {
				a = admission{err: err}
			}
			answers <- a
		}()
	}
	for range slots {
		a := <-answers
		switch {
		case first.slot != nil && a.err == nil: // a moment too late
			a.leave()
			a.free()
		case first.slot != nil:
		case a.err != nil:
			first.err = a.err
		default:
			first = a
			for s, end := range ends {
				if s != a.slot {
					end()
				}
			}
		}
	}
	if first.slot != nil {
		l.atEnd(ends[first.slot])
	}
	return first
}

// apply waits until a slot lets the job in.
func (l *life) apply(ctx context.Context, s *Slot) admission {
	free := func() {}
	if s != l.slot {
		if s.users.Acquire(ctx, 1) != nil {
			return admission{err: context.Cause(ctx)}
		}
		free = func() { s.users.Release(1) }
	}
	inside, leave, err := s.admit(ctx, lanesMax)
	if err != nil {
		free()
		return admission{err: err}
	}
	return admission{slot: s, inside: inside, leave: leave, free: free}
}
