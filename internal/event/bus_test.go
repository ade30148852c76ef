package event

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func line(n int) Line { return Line{Text: fmt.Sprint(n)} }

func read(s *Subscription) (got []Event) {
	for e := range s.Events() {
		got = append(got, e)
	}
	return got
}

func TestEverySubscriptionGetsEverything(t *testing.T) {
	var b Bus
	b.Publish(line(0)) // before anybody listens
	first, second := b.Subscribe(8), b.Subscribe(8)
	want := []Event{
		Child{From: "running", To: "backoff", Reason: "exit 1"},
		Gate{Open: true},
		Job{ID: "a", Phase: "execute"},
		Progress{Job: "a", Percent: 50},
		line(1),
	}
	for _, e := range want {
		b.Publish(e)
	}
	for _, s := range []*Subscription{first, second} {
		s.Cancel()
		if diff := cmp.Diff(want, read(s)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if s.Dropped() != 0 {
			t.Errorf("dropped %d, want 0", s.Dropped())
		}
	}
}

func TestSlowReaderLosesTheOldestAndNobodyWaits(t *testing.T) {
	var b Bus
	slow, prompt := b.Subscribe(2), b.Subscribe(5)
	for n := range 5 {
		b.Publish(line(n))
	}
	slow.Cancel()
	prompt.Cancel()
	if diff := cmp.Diff([]Event{line(3), line(4)}, read(slow)); diff != "" {
		t.Errorf("slow reader (-want +got):\n%s", diff)
	}
	if got := slow.Dropped(); got != 3 {
		t.Errorf("slow reader dropped %d, want 3", got)
	}
	if got := len(read(prompt)); got != 5 {
		t.Errorf("the other reader got %d events, want 5", got)
	}
}

func TestAFloodPushesNothingElseOut(t *testing.T) {
	var b Bus
	gates := b.SubscribeTo(2, func(e Event) bool { _, is := e.(Gate); return is })
	b.Publish(Gate{Open: true})
	for n := range 100 {
		b.Publish(line(n))
	}
	b.Publish(Gate{Reason: "exit 1"})
	gates.Cancel()
	if diff := cmp.Diff([]Event{Gate{Open: true}, Gate{Reason: "exit 1"}}, read(gates)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if gates.Dropped() != 0 {
		t.Errorf("dropped %d, want 0", gates.Dropped())
	}
}

func TestCancelEndsTheSubscription(t *testing.T) {
	var b Bus
	s := b.Subscribe(0)
	s.Cancel()
	s.Cancel()
	b.Publish(line(1))
	if got := read(s); len(got) != 0 {
		t.Errorf("got %v after Cancel", got)
	}
}

func TestPublishersAndReadersTogether(t *testing.T) {
	const publishers, each = 4, 1000
	var b Bus
	s := b.Subscribe(16)
	var reader, group sync.WaitGroup
	got := 0
	reader.Go(func() { got = len(read(s)) })
	for range publishers {
		group.Go(func() {
			for n := range each {
				b.Publish(line(n))
				b.Subscribe(1).Cancel()
			}
		})
	}
	group.Wait()
	s.Cancel()
	reader.Wait()
	if sum := got + int(s.Dropped()); sum != publishers*each {
		t.Errorf("read %d and dropped %d, want %d together", got, s.Dropped(), publishers*each)
	}
}

func BenchmarkPublishToASlowReader(b *testing.B) {
	var bus Bus
	defer bus.Subscribe(64).Cancel()
	e := Event(line(1))
	for b.Loop() {
		bus.Publish(e)
	}
}
