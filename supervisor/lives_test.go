package supervisor

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestRandomLives plays processes that end, hang and refuse at random while
// wishes come at random, and checks what must always hold: the rows of the
// table, one process and one Watch at a time, and that Run ends when told to.
func TestRandomLives(t *testing.T) {
	rows := docRows(t)
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			st := newStage(t, randomWatch(random.Uint64()), randomActors(random)...)
			for range random.IntN(20) {
				pass(time.Duration(random.IntN(4000)) * time.Millisecond)
				switch random.IntN(8) {
				case 0, 1, 2:
					st.Restart("asked")
				case 3, 4:
					st.Ready()
				case 5:
					st.Worked()
				case 6:
					st.Activity()
				case 7:
					if random.IntN(10) == 0 {
						st.hurry()
					}
				}
			}
			told := time.Now()
			st.cancel()
			<-st.ended
			if took, most := time.Since(told), DefaultGrace+DefaultKillTimeout+time.Second; took > most {
				t.Errorf("seed %d: stopped after %s, want at most %s", seed, took, most)
			}
			if last := st.Status(); last.State != StateStopped && last.State != StateFailed {
				t.Errorf("seed %d: Run has returned in state %s", seed, last.State)
			}
			for _, tr := range st.seen {
				if !rows[row{tr.From, tr.To}] {
					t.Errorf("seed %d: %s to %s is not in the table", seed, tr.From, tr.To)
				}
			}
		})
	}
}

func randomActors(random *rand.Rand) []actor {
	var actors []actor
	for range 1 + random.IntN(8) {
		a := actor{deaf: random.IntN(4) == 0, endless: random.IntN(20) == 0}
		if random.IntN(2) == 0 {
			a.exits = time.Duration(1+random.IntN(20000)) * time.Millisecond
			a.exit = Exit{Code: random.IntN(2)}
		}
		if random.IntN(4) == 0 {
			a.clears = time.Duration(random.IntN(1000)) * time.Millisecond
		}
		if random.IntN(20) == 0 {
			a.left = errLeft
		}
		switch random.IntN(20) {
		case 0:
			a.start = errNoFork
		case 1:
			a.start = errNever
		}
		actors = append(actors, a)
	}
	return actors
}

// randomWatch ends with its context, or before it with or without an error.
func randomWatch(seed uint64) func(context.Context) error {
	random := rand.New(rand.NewPCG(seed, 2))
	return func(ctx context.Context) error {
		var early <-chan time.Time
		if random.IntN(3) == 0 {
			early = time.After(time.Duration(random.IntN(10000)) * time.Millisecond)
		}
		select {
		case <-early:
			if random.IntN(2) == 0 {
				return errors.New("no answer")
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
