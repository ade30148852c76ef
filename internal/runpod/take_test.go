package runpod_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// fastest returns the largest number of takes within one second.
func fastest(takes []runpodtest.Take) int {
	most, from := 0, 0
	for i := range takes {
		for takes[i].At.Sub(takes[from].At) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// A take that goes wrong is repeated gently, never more than 20 times a second, and the queue's return is noticed within one backoff step.
func TestFault_J1_TakeGoesWrong(t *testing.T) {
	const outage = 5 * time.Minute
	tests := map[string]runpodtest.Fault{
		"502 with HTML": {For: outage, Status: 502, Body: "<html>Bad Gateway</html>"},
		"200 with HTML": {For: outage, Status: 200, Body: "<html>Sign in</html>"},
		"500 empty":     {For: outage, Status: 500},
		"reset":         {For: outage, Cut: true},
		"429":           {For: outage, Status: 429},
		"429, later":    {For: outage, Status: 429, Header: http.Header{"Retry-After": {"7"}}},
		"503, much later": {For: outage, Status: 503,
			Header: http.Header{"Retry-After": {"86400"}}},
		"204 at once": {For: outage, Status: 204},
		"400 at once": {For: outage, Status: 400},
		"hang":        {For: outage, Hang: outage},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{Hold: 90 * time.Second})
				begun := time.Now()
				f.Call = runpodtest.TakeJobs
				q.Inject(f)
				c, logs := start(t, config(q))
				q.Submit("job", `{}`)
				takeOne(t, c, "job")
				late := time.Since(begun) - outage
				// A Retry-After is honoured up to a minute, and a poll that hangs takes 2.
				if limit := 2*time.Minute + 15*time.Second; late < 0 || late > limit {
					t.Errorf("job came %s after the outage, want at most %s", late, limit)
				}
				if f.Hang == 0 && f.Header == nil && late > 15*time.Second {
					t.Errorf("job came %s after the outage, want at most 15s", late)
				}
				n := q.Ledger().Faults[runpodtest.TakeJobs]
				if n < 2 || n > 20*int(outage/time.Second) {
					t.Errorf("%d takes during the outage", n)
				}
				troubles := count(logs, "queue does not answer as it should, trying on")
				if normal := f.Status == 204 || f.Status == 400; normal && troubles != 0 || !normal && troubles != 1 {
					t.Errorf("the log names the outage %d times:\n%s", troubles, text(logs))
				}
				finish(t, c, completed("job"))
				check(t, q)
			})
		})
	}
}

// With jitter that comes out short every time, a failing take stays below 20 a second.
func TestFault_J1_NoHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		cfg := config(q)
		cfg.BackoffFirst, cfg.BackoffMax = 1, 1
		cfg.IdleFirst, cfg.IdleMax = 50*time.Millisecond, 50*time.Millisecond
		c, _ := start(t, cfg)
		takeNothing(t, c, time.Minute)
		if n := fastest(q.Ledger().Takes); n > 20 {
			t.Errorf("%d empty takes in a second", n)
		}
		q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, For: time.Minute, Cut: true})
		takeNothing(t, c, time.Minute)
		if n := q.Ledger().Faults[runpodtest.TakeJobs]; n < 600 || n > 1201 {
			t.Errorf("%d failing takes in a minute, want about 1200", n)
		}
	})
}

func TestHeldPollIsRepeatedAtOnceAndHastyOneIsNot(t *testing.T) {
	tests := []struct {
		name       string
		hold       time.Duration
		atLeast, n int
	}{
		{"held for 10s", 10 * time.Second, 59, 61},
		{"204 at once", 0, 600, 620},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{Hold: tt.hold})
				c, _ := start(t, config(q))
				takeNothing(t, c, 10*time.Minute)
				if n := len(q.Ledger().Takes); n < tt.atLeast || n > tt.n {
					t.Errorf("%d takes in 10 minutes, want %d to %d", n, tt.atLeast, tt.n)
				}
			})
		})
	}
}

func TestHeartbeatGoesBeforeFirstTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{Waverless: true, APIKey: "key"})
		q.Submit("job", `{}`)
		c, _ := start(t, config(q))
		begun := time.Now()
		takeOne(t, c, "job")
		if time.Since(begun) > 0 || q.Ledger().Takes[0].Status != 200 {
			t.Errorf("the first take was answered %d", q.Ledger().Takes[0].Status)
		}
		finish(t, c, completed("job"))
		wantOutcome(t, q, "job", runpodtest.Completed)
		check(t, q)
	})
}

func TestTakeWithoutHeartbeatOnlyWaitsAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{APIKey: "key"})
		q.Inject(runpodtest.Fault{Call: runpodtest.Beat, For: time.Hour, Hang: time.Hour})
		q.Submit("job", `{}`)
		c, _ := start(t, config(q))
		begun := time.Now()
		takeOne(t, c, "job")
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("the first take went out after %s, want 2s", took)
		}
	})
}

// A job handed out to a poll that is open when the worker stops is read and returned, whenever the stop falls; or nothing was handed out.
func TestFault_J6_ShutdownWhilePollIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{Hold: 3 * time.Second})
		cfg := config(q)
		// Off the grid of the other times: at the very end of the last read nobody
		// can say who was first.
		cfg.LastRead = 2050 * time.Millisecond
		c, _ := start(t, cfg)
		random := rand.New(rand.NewPCG(1, 2))
		tenths := func(n int) time.Duration { return time.Duration(random.IntN(n)) * 100 * time.Millisecond }
		taken, torn := 0, 0
		const rounds = 2500
		for i := range rounds {
			r := interleaving{id: fmt.Sprint("job-", i), stop: tenths(40), arrival: tenths(60), late: tenths(10)}
			took, wasTorn := r.play(t, q, c, cfg.LastRead)
			if took {
				taken++
			}
			if wasTorn {
				torn++
			}
		}
		if taken < rounds/4 || taken > rounds*9/10 || torn == 0 {
			t.Errorf("the stop does not fall around the hand-out: %d rounds, %d jobs taken, %d answers torn", rounds, taken, torn)
		}
	})
}

// interleaving is one way in which a hand-out and a stop can fall together.
type interleaving struct {
	id            string
	stop, arrival time.Duration
	late          time.Duration // from the hand-out to its answer
}

func (r interleaving) play(t *testing.T, q *runpodtest.Server, c *runpod.Client, lastRead time.Duration) (taken, torn bool) {
	q.Heal()
	q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, For: time.Minute, Late: r.late})
	ctx, cancel := context.WithTimeout(t.Context(), r.stop)
	defer cancel()
	submit := time.AfterFunc(r.arrival, func() { q.Submit(r.id, `{}`) })
	defer submit.Stop()
	jobs, err := c.Take(ctx, 1)
	if len(jobs) > 0 && err != nil || len(jobs) == 0 && err != context.DeadlineExceeded {
		t.Fatalf("%+v: Take = %v, %v", r, jobs, err)
	}
	for _, j := range jobs {
		finish(t, c, failed(j.ID))
	}
	synctest.Wait()
	for _, h := range q.Job(r.id).Handouts {
		if torn = h.Torn; torn && r.arrival+r.late < r.stop+lastRead {
			t.Fatalf("%+v: the answer was not read", r)
		}
	}
	if err := q.Check(); err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return len(jobs) > 0, torn
}

// Without reading on, a stop while the answer is on its way loses the job.
func TestFault_J6_TwinWithoutLastReadLosesTheJob(t *testing.T) {
	for lastRead, want := range map[time.Duration]int{2 * time.Second: 1, 1: 0} {
		t.Run(lastRead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				cfg := config(q)
				cfg.LastRead = lastRead
				c, _ := start(t, cfg)
				q.Submit("job", `{}`)
				q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, Late: time.Second})
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				jobs, _ := c.Take(ctx, 1)
				if len(jobs) != want || len(q.Job("job").Handouts) != 1 {
					t.Errorf("took %d jobs, want %d", len(jobs), want)
				}
			})
		})
	}
}

// A hurried stop does not wait for the open poll.
func TestFault_P3_HurryCutsTheOpenPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{Hold: time.Minute})
		cfg := config(q)
		hurry := make(chan struct{})
		cfg.Hurry = hurry
		c, _ := start(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		time.AfterFunc(1500*time.Millisecond, func() { close(hurry) })
		if jobs, err := c.Take(ctx, 1); err == nil {
			t.Errorf("Take = %v, want nothing", jobs)
		}
		if d := time.Since(begun); d != 1500*time.Millisecond {
			t.Errorf("Take returned after %v, want 1.5s", d)
		}
	})
}

func TestPollThatNeverEndsIsNamedAndRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, Hang: time.Hour})
		q.Submit("job", `{}`)
		c, logs := start(t, config(q))
		begun := time.Now()
		takeOne(t, c, "job")
		if took := time.Since(begun); took < 2*time.Minute || took > 2*time.Minute+time.Second {
			t.Errorf("the job came after %s, want 2m", took)
		}
		if !strings.Contains(text(logs), "is lost to this worker") {
			t.Errorf("the log does not tell that a hand-out may be lost:\n%s", text(logs))
		}
		finish(t, c, completed("job"))
		check(t, q)
	})
}

// A job whose answer was destroyed on the way is not named in heartbeats, so the queue hands it out again; it is done once.
func TestFault_J7_AnswerToTakeDestroyed(t *testing.T) {
	tests := map[string]runpodtest.Fault{
		"no answer": {Call: runpodtest.TakeJobs, Act: true, Status: 502},
		"half":      {Call: runpodtest.TakeJobs, Act: true, Cut: true},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{APIKey: "key", Hold: time.Minute, Lease: 30 * time.Second})
				q.Inject(f)
				q.Submit("job", `{}`)
				c, _ := start(t, config(q))
				takeOne(t, c, "job")
				arrived := q.Job("job").Handouts[1].At
				for _, p := range q.Ledger().Pings {
					if len(p.Jobs) > 0 && p.At.Before(arrived) {
						t.Errorf("a heartbeat named %v, which the worker never had", p.Jobs)
					}
				}
				// From here on heartbeats keep it.
				<-time.After(2 * time.Minute)
				finish(t, c, completed("job"))
				if n := len(q.Job("job").Handouts); n != 2 {
					t.Errorf("handed out %d times, want 2", n)
				}
				wantOutcome(t, q, "job", runpodtest.Completed)
				check(t, q)
			})
		})
	}
}

// A refused key is named once, asked about every 30 s and no more often, and shows in Err; the worker goes on when the key is good again.
func TestFault_J12_KeyRefused(t *testing.T) {
	for _, status := range []int{401, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{})
				q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, For: 10 * time.Minute, Status: status})
				c, logs := start(t, config(q))
				takeNothing(t, c, 100*time.Second)
				if err := c.Err(); err != nil {
					t.Errorf("Err = %v after 4 refusals, want nil", err)
				}
				takeNothing(t, c, 5*time.Minute)
				if err := c.Err(); err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) {
					t.Errorf("Err = %v, want the status in it", err)
				}
				if n := q.Ledger().Faults[runpodtest.TakeJobs]; n > 15 {
					t.Errorf("%d takes in 400 s, want one in 30 s", n)
				}
				if n := count(logs, "queue refuses the API key, trying on"); n != 1 {
					t.Errorf("the log names it %d times", n)
				}
				q.Submit("job", `{}`)
				takeOne(t, c, "job")
				if err := c.Err(); err != nil {
					t.Errorf("Err = %v after a job came", err)
				}
			})
		})
	}
}

func TestTakeBatchReturnsAllJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		for i := range 5 {
			q.Submit(fmt.Sprint("job-", i), fmt.Sprintf(`{"n":%d}`, i))
		}
		c, _ := start(t, config(q))
		jobs := take(t, c, 3)
		if len(jobs) != 3 {
			t.Fatalf("took %d jobs, want 3", len(jobs))
		}
		for i, j := range jobs {
			if want := fmt.Sprintf(`{"n":%d}`, i); string(j.Input) != want || j.Taken != time.Now() {
				t.Errorf("job %s has input %s, taken %s", j.ID, j.Input, j.Taken)
			}
			finish(t, c, completed(j.ID))
		}
	})
}
