package runpodtest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What was answered while the line was spoilt may be lost: a result may come again,
// and a stop is told again. Nothing else is excused by it.
func TestDoubtExcusesWhatMayBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{})
		for _, id := range []string{"a", "b", "stopped"} {
			q.Submit(id, `{}`)
			takes(q, "w")
		}
		posts(q, "w", "a", good)
		time.Sleep(time.Second)

		from := time.Now()
		posts(q, "w", "b", good)
		q.Stop("stopped")
		if got := q.takeStops("w"); len(got) != 1 {
			t.Errorf("stops = %v, want one", got)
		}
		q.Doubt(from, time.Now())
		if got := q.takeStops("w"); len(got) != 1 {
			t.Errorf("stops = %v, want that one again", got)
		}
		if q.Doubtful(from.Add(-time.Second)) || !q.Doubtful(from) {
			t.Error("the doubt has another span")
		}
		posts(q, "w", "b", good)
		posts(q, "w", "stopped", good)
		if err := q.Check(); err != nil {
			t.Errorf("Check = %v", err)
		}
		time.Sleep(time.Second)
		posts(q, "w", "a", good)
		if err := q.Check(); err == nil || !strings.Contains(err.Error(), "job a: done 2 times") {
			t.Errorf("Check = %v, want that a was done twice", err)
		}
	})
}

// A worker that calls too often while its calls fail is told of, once, and one that
// keeps to the rules is not.
func TestRushIsTold(t *testing.T) {
	for _, tt := range []struct {
		every time.Duration
		want  int
	}{{60 * time.Millisecond, 0}, {30 * time.Millisecond, 1}} {
		synctest.Test(t, func(t *testing.T) {
			q := New(Config{})
			q.Inject(Fault{Call: TakeJobs, For: time.Minute, Status: 503})
			for range 30 {
				takes(q, "w")
				time.Sleep(tt.every)
			}
			told := 0
			if err := q.Check(); err != nil {
				told = strings.Count(err.Error(), "worker w: calls take more than 20 times a second")
			}
			if told != tt.want {
				t.Errorf("every %v: told %d times, want %d", tt.every, told, tt.want)
			}
		})
	}
}
