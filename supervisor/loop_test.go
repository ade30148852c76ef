package supervisor

import (
	"context"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

// play acts a scene and returns the transitions.
func play(t *testing.T, sc scene) (seen []Transition) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, sc.watch, sc.actors...)
		sc.play(st)
		if err := <-st.ended; !errors.Is(err, sc.err) {
			t.Errorf("Run = %v, want %v", err, sc.err)
		}
		if got := st.states(); sc.want != "" && got != sc.want {
			t.Errorf("states\n%s, want\n%s", got, sc.want)
		}
		seen = st.seen
	})
	return seen
}

func TestStates(t *testing.T) {
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) { play(t, sc) })
	}
}

// row is a line of the table: from, to.
type row [2]State

// docRows reads the table of the package comment.
func docRows(t *testing.T) map[row]bool {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	states := "(stopped|running|terminating|killing|backoff|failed)"
	rows := make(map[row]bool)
	for _, m := range regexp.MustCompile(`(?m)^//\t`+states+` +`+states+` +\S`).FindAllSubmatch(doc, -1) {
		rows[row{State(m[1]), State(m[2])}] = true
	}
	return rows
}

func sortedRows(rows map[row]bool) []row {
	return slices.SortedFunc(maps.Keys(rows), func(a, b row) int {
		return slices.Compare([]string{string(a[0]), string(a[1])}, []string{string(b[0]), string(b[1])})
	})
}

func TestTransitionsAreThoseOfTheTable(t *testing.T) {
	seen := make(map[row]bool)
	for _, sc := range scenes {
		for _, tr := range play(t, sc) {
			seen[row{tr.From, tr.To}] = true
		}
	}
	// Which of two events comes first is a matter of chance, so it is tried
	// until both orders were seen.
	for range 1000 {
		for _, tr := range play(t, atOnce) {
			seen[row{tr.From, tr.To}] = true
		}
		if seen[row{StateRunning, StateStopped}] {
			break
		}
	}
	if diff := cmp.Diff(sortedRows(docRows(t)), sortedRows(seen)); diff != "" {
		t.Errorf("transitions (-table +code):\n%s", diff)
	}
}

// atOnce has the end of the context and the end of the process wait for the
// loop side by side, while it waits for a slow Watch.
var atOnce = scene{
	watch: func(ctx context.Context) error {
		<-ctx.Done()
		<-time.After(time.Second)
		return nil
	},
	actors: []actor{{exits: time.Second, deaf: true}},
	play:   func(st *stage) { pass(1500 * time.Millisecond); st.cancel() },
	err:    context.Canceled,
}

func TestWatchEndsWithTheExitAsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 10)
		watch := func(ctx context.Context) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		}
		// What is left of the process must not hold up the news of its end.
		st := newStage(t, watch, actor{exits: time.Second, exit: Exit{Code: 3}, clears: time.Hour}, actor{})
		pass(time.Second)
		var exit Exit
		if err := <-causes; !errors.As(err, &exit) || exit.Code != 3 || exit.Incarnation != 1 || exit.Uptime != time.Second {
			t.Errorf("cause of the context = %#v, want the exit", err)
		}
		st.cancel()
		<-st.ended
	})
}

func TestPlannedRestartTellsItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil, actor{})
		pass(time.Minute)
		st.Restart("new custom node")
		pass(0)
		exit := st.Status().LastExit
		if exit == nil || !exit.Planned || exit.Error() != "stopped (new custom node) after 1m0s" {
			t.Errorf("last exit = %+v, want a planned one with the reason", exit)
		}
		if got := st.Status(); got.State != StateRunning || got.Incarnation != 2 || got.Restarts != 1 {
			t.Errorf("status = %+v, want the second incarnation running", got)
		}
		st.cancel()
		<-st.ended
	})
}

func TestErrorOfWatchCountsAsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noAnswer := errors.New("no answer for 2m0s")
		var st *stage
		watch := func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return noAnswer
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		st = newStage(t, watch, actor{})
		err := <-st.ended
		var exit Exit
		if !errors.Is(err, ErrCrashLoop) || !errors.As(err, &exit) || !errors.Is(err, noAnswer) {
			t.Errorf("Run = %v, want a crash loop that tells the exit and the error of Watch", err)
		}
		if want := "stopped (no answer for 2m0s) after 1s"; exit.Error() != want || exit.Planned {
			t.Errorf("exit = %q, planned %v, want %q", exit, exit.Planned, want)
		}
	})
}

// A process that is ready and dies at once is started for ever, ever more slowly.
func TestProcessThatGotReadyNeverEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st *stage
		ready := make(chan struct{}, 1)
		watch := func(ctx context.Context) error {
			ready <- struct{}{}
			<-ctx.Done()
			return nil
		}
		st = newStage(t, watch, crash)
		end := time.After(time.Hour)
		for going := true; going; {
			select {
			case <-ready:
				st.Ready()
			case <-end:
				going = false
			}
		}
		// 0.5+1+2+...+16 and then 30 s each, and one second of life.
		if n := st.Status().Incarnation; n < 90 || n > 160 {
			t.Errorf("%d incarnations in an hour, want about 120", n)
		}
		if state := st.Status().State; state == StateFailed {
			t.Error("given up")
		}
		st.cancel()
		<-st.ended
	})
}

func TestJobForgivesEarlierFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil, crash, crash, crash, actor{exits: time.Minute, exit: Exit{Code: 1}}, actor{})
		pass(10 * time.Second)
		st.Worked()
		pass(time.Minute)
		status := st.Status()
		if status.Incarnation != 5 || status.LastExit.At.Sub(status.Started) != 0 {
			t.Errorf("incarnation %d started %s after the exit, want the fifth at once",
				status.Incarnation, status.Started.Sub(status.LastExit.At))
		}
		st.cancel()
		<-st.ended
	})
}

func TestRunWithEndedContextStartsNothing(t *testing.T) {
	s := New(Config{Path: "x"}, nil, zap.NewNop())
	s.cfg.Launch = func(int) (*Process, error) {
		t.Error("a process is started")
		return nil, errNever
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the context's error", err)
	}
}
