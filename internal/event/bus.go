package event

import (
	"sync"
	"sync/atomic"
)

// A Bus carries events from those who publish to those who subscribed. Its zero
// value is ready for use, by any goroutine.
type Bus struct {
	mu   sync.Mutex
	subs map[*Subscription]struct{}
}

// Publish hands e to every subscription and returns at once.
func (b *Bus) Publish(e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		if s.wants == nil || s.wants(e) {
			s.put(e)
		}
	}
}

// Subscribe starts a subscription that keeps up to buffer unread events, at
// least one. The caller must call Cancel.
func (b *Bus) Subscribe(buffer int) *Subscription { return b.SubscribeTo(buffer, nil) }

// SubscribeTo is Subscribe for those events alone for which wants tells true, so
// that a flood of the others pushes none of them out. It is called by whoever
// publishes, with the bus locked: it may only look at the event.
func (b *Bus) SubscribeTo(buffer int, wants func(Event) bool) *Subscription {
	s := &Subscription{bus: b, wants: wants, events: make(chan Event, max(buffer, 1))}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = make(map[*Subscription]struct{})
	}
	b.subs[s] = struct{}{}
	return s
}

// A Subscription is one reader's place at a Bus.
type Subscription struct {
	bus     *Bus
	wants   func(Event) bool // nil for everything
	events  chan Event
	dropped atomic.Uint64
}

// Events returns the channel of what is published, in order. It is closed by
// Cancel.
func (s *Subscription) Events() <-chan Event { return s.events }

// Dropped returns how many events were lost because nobody read them in time.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Cancel ends the subscription. What is in the buffer can still be read. It may
// be called more than once.
func (s *Subscription) Cancel() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if _, ok := s.bus.subs[s]; ok {
		delete(s.bus.subs, s)
		close(s.events)
	}
}

// put adds e, in the place of the oldest event if there is no room. The bus is
// locked, so that nobody else can take the room that was made.
func (s *Subscription) put(e Event) {
	for {
		select {
		case s.events <- e:
			return
		default:
		}
		select {
		case <-s.events:
			s.dropped.Add(1)
		default:
		}
	}
}
