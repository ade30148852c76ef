package runpod_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A job that cannot be run but has a usable id is failed explicitly with cause bad_request; without an id it is logged without its values; the good jobs of the same answer run.
func TestFault_J2_MalformedJobs(t *testing.T) {
	const secret = "hunter2"
	tests := []struct {
		name, id, text string
		runs           bool
	}{
		{"no input", "a", `{"id":"a"}`, false},
		{"null input", "a", `{"id":"a","input":null}`, false},
		{"string input", "a", `{"id":"a","input":"{}"}`, true},
		{"array input", "a", `{"id":"a","input":[1]}`, true},
		{"number out of range", "a", `{"id":"a","input":{"n":1e999}}`, true},
		{"id twice", "a", `{"id":"b","id":"a","input":{}}`, true},
		{"id in another case beside it", "a", `{"id":"a","ID":"b","input":{}}`, true},
		{"id with a path", "../a/b?c#d e", `{"id":"../a/b?c#d e","input":{}}`, true},
		{"id in other letters", "jöb-ж", `{"id":"jöb-ж","input":{}}`, true},
		{"deep", "a", `{"id":"a","input":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, true},
		{"no id", "", `{"input":{"password":"` + secret + `"}}`, false},
		{"number for id", "", `{"id":7,"input":{"password":"` + secret + `"}}`, false},
		{"empty id", "", `{"id":"","input":{"password":"` + secret + `"}}`, false},
		{"line break in id", "", `{"id":"a\nb","input":{"password":"` + secret + `"}}`, false},
		{"long id", "", `{"id":"` + strings.Repeat("a", 10<<10) + `","input":{"password":"` + secret + `"}}`, false},
		{"no object", "", `"` + secret + `"`, false},
		{"many fields", "", `{` + fields(1000) + `"password":"` + secret + `"}`, false},
	}
	for _, tt := range tests {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, asked for %d", tt.name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					q := newQueue(t, runpodtest.Config{Hold: time.Minute})
					q.Submit("before", `{}`)
					q.SubmitEntry(tt.id, tt.text)
					q.Submit("after", `{}`)
					c, logs := start(t, config(q))
					want := []string{"before", "after"}
					if tt.runs {
						want = []string{"before", tt.id, "after"}
					}
					var got []string
					for len(got) < len(want) {
						for _, j := range take(t, c, n) {
							got = append(got, j.ID)
							finish(t, c, completed(j.ID))
						}
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("took %q, want %q", got, want)
					}
					switch {
					case tt.runs:
						wantOutcome(t, q, tt.id, runpodtest.Completed)
					case tt.id != "":
						wantCause(t, wantOutcome(t, q, tt.id, runpodtest.Failed), "bad_request")
					default:
						lines := logs.FilterMessage("took something that is no job, ignored")
						if lines.Len() != 1 || len(text(lines)) > 1<<10 {
							t.Errorf("%d log lines, %d bytes, want one of at most 1 KiB", lines.Len(), len(text(lines)))
						}
					}
					if strings.Contains(text(logs), secret) {
						t.Errorf("the log tells an input:\n%s", text(logs))
					}
					check(t, q)
				})
			})
		}
	}
}

func fields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"field-%d":0,`, i)
	}
	return b.String()
}

// Jobs that cannot be run and came with the last poll are still answered after the stop.
func TestFault_J6_MalformedJobsAtShutdownAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		for i := range 6 {
			id := fmt.Sprint("bad-", i)
			q.SubmitEntry(id, `{"id":"`+id+`"}`)
		}
		q.Submit("good", `{}`)
		q.Inject(runpodtest.Fault{Call: runpodtest.Done, Hang: time.Second})
		c, err := runpod.New(config(q), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		jobs := take(t, c, 7)
		synctest.Wait() // the first answer is on its way, and takes a second
		cancel()
		for _, j := range jobs {
			finish(t, c, completed(j.ID))
		}
		<-done
		for i := range 6 {
			wantCause(t, wantOutcome(t, q, fmt.Sprint("bad-", i), runpodtest.Failed), "bad_request")
		}
		check(t, q)
	})
}

// A job handed out twice is run once: while it runs the second hand-out gets the same result, afterwards the stored one is posted again.
func TestFault_J3_SameJobTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{Hold: time.Minute})
		q.Submit("job", `{}`)
		c, _ := start(t, config(q))
		takeOne(t, c, "job")
		q.Redeliver("job")
		takeNothing(t, c, time.Second)
		finish(t, c, completed("job"))
		for range 3 {
			q.Redeliver("job")
			takeNothing(t, c, 5*time.Second)
		}
		j := q.Job("job")
		if len(j.Handouts) != 5 || len(j.Posts) != 4 {
			t.Errorf("%d hand-outs and %d results, want 5 and 4", len(j.Handouts), len(j.Posts))
		}
		for _, p := range j.Posts[1:] {
			if p.SHA256 != j.Posts[0].SHA256 {
				t.Error("the results differ")
			}
		}
		check(t, q)
	})
}

// The same job twice in one answer is one job.
func TestFault_J3_SameJobTwiceInOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		q.Submit("job", `{}`)
		q.Redeliver("job")
		c, _ := start(t, config(q))
		if jobs := take(t, c, 2); len(jobs) != 1 {
			t.Errorf("took %d jobs, want 1", len(jobs))
		}
		finish(t, c, completed("job"))
		check(t, q)
	})
}

// What is no longer remembered runs again: a result that is too large or too old, one pushed out by others, and a failure that has arrived, which RunPod's retry hands out again.
func TestFault_J3_ForgottenJobRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{Hold: time.Minute})
		cfg := config(q)
		cfg.KeepJobs, cfg.KeepResult, cfg.KeepFor = 2, 1<<10, time.Hour
		c, _ := start(t, cfg)
		again := func(why string, r job.Result) {
			q.Submit(r.ID, `{}`)
			takeOne(t, c, r.ID)
			finish(t, c, r)
			if why == "old" {
				<-time.After(time.Hour)
			}
			for i := 0; why == "pushed out" && i < 2; i++ {
				id := fmt.Sprint("other-", i)
				q.Submit(id, `{}`)
				takeOne(t, c, id)
				finish(t, c, completed(id))
			}
			if r.Failure != nil {
				q.Retry(r.ID)
			} else {
				q.Redeliver(r.ID)
			}
			takeOne(t, c, r.ID)
			finish(t, c, completed(r.ID))
		}
		again("large", completed("large-"+strings.Repeat("x", 1000)))
		again("old", completed("old"))
		again("pushed out", completed("pushed-out"))
		again("failed", failed("failed"))
		wantOutcome(t, q, "failed", runpodtest.Completed)
		check(t, q)
	})
}

// A result that could not be delivered is posted when the queue hands the job out again, without another run.
func TestFault_J3_UndeliveredResultIsKept(t *testing.T) {
	for _, r := range []job.Result{completed("job"), failed("job")} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, runpodtest.Config{Hold: time.Minute})
			q.Submit("job", `{}`)
			c, _ := start(t, config(q))
			takeOne(t, c, "job")
			q.Inject(runpodtest.Fault{Call: runpodtest.Done, For: time.Hour, Status: 503})
			if err := c.Done(t.Context(), r); err == nil {
				t.Fatal("Done succeeded during an outage")
			}
			q.Heal()
			q.Redeliver("job")
			takeNothing(t, c, time.Minute)
			if o, err := q.Wait(t.Context(), "job"); err != nil || (o.Status == runpodtest.Failed) != (r.Failure != nil) {
				t.Errorf("outcome %+v, %v", o, err)
			}
			check(t, q)
		})
	}
}

// Of two workers with the same job, the later one takes "already ended" for a success.
func TestFault_J4_TwoWorkersWithOneJob(t *testing.T) {
	for _, status := range []int{404, 409, 410, 422} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, runpodtest.Config{EndedStatus: status})
			q.Submit("job", `{}`)
			q.Redeliver("job")
			one := config(q)
			two := config(q)
			two.WorkerID = "worker-2"
			c1, _ := start(t, one)
			c2, logs := start(t, two)
			takeOne(t, c1, "job")
			takeOne(t, c2, "job")
			finish(t, c1, completed("job"))
			begun := time.Now()
			finish(t, c2, completed("job"))
			if took := time.Since(begun); took > 0 || len(q.Job("job").Posts) != 2 {
				t.Errorf("%d posts in %s, want 2 at once", len(q.Job("job").Posts), took)
			}
			if count(logs, "job had already ended, its result is not needed") != 1 {
				t.Errorf("no note in the log:\n%s", text(logs))
			}
			check(t, q)
		})
	}
}

// A job that the platform stops is canceled within a second, and no other job is.
func TestFault_J5_StoppedJobIsCanceled(t *testing.T) {
	for _, hold := range []time.Duration{1, 90 * time.Second} {
		t.Run(fmt.Sprint("held for ", hold), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{HoldStop: hold})
				c, _ := start(t, config(q))
				for round := range 3 {
					id := fmt.Sprint("stopped-", round)
					other := fmt.Sprint("other-", round)
					q.Submit(id, `{}`)
					q.Submit(other, `{}`)
					jobs := take(t, c, 2)
					<-time.After(10 * time.Second)
					q.Stop(id)
					begun := time.Now()
					<-jobs[0].Canceled
					if took := time.Since(begun); took > time.Second {
						t.Errorf("canceled after %s, want at most 1s", took)
					}
					select {
					case <-jobs[1].Canceled:
						t.Error("another job was canceled, too")
					default:
					}
					finish(t, c, failed(id))
					finish(t, c, completed(other))
				}
				check(t, q)
			})
		})
	}
}

// A stop that comes while its job is still on its way stops the job all the same, however long that takes.
func TestFault_J5_StopOvertakesItsJob(t *testing.T) {
	for _, late := range []time.Duration{time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, runpodtest.Config{})
			c, _ := start(t, config(q))
			q.Submit("job", `{}`)
			q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, Late: late})
			time.AfterFunc(500*time.Millisecond, func() { q.Stop("job") })
			j := takeOne(t, c, "job")
			select {
			case <-j.Canceled:
			case <-time.After(time.Minute):
				t.Errorf("the job runs although it was stopped, %v before it came", late)
			}
			finish(t, c, failed("job"))
		})
	}
}

// A server without a stop channel is asked for it once a minute, and the log does not complain.
func TestFault_J5_NoStopChannel(t *testing.T) {
	for _, status := range []int{404, 405, 501} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(t, runpodtest.Config{Hold: time.Minute})
			q.Inject(runpodtest.Fault{Call: runpodtest.StopJobs, For: time.Hour, Status: status})
			c, logs := start(t, config(q))
			takeNothing(t, c, 10*time.Minute)
			if n := q.Ledger().Faults[runpodtest.StopJobs]; n < 9 || n > 12 {
				t.Errorf("asked %d times in 10 minutes, want about 10", n)
			}
			if n := count(logs, "queue does not answer as it should, trying on"); n != 0 {
				t.Errorf("the log complains %d times", n)
			}
		})
	}
}

// The stop channel survives its own outages, and asks at most once a second.
func TestFault_J5_StopChannelComesBack(t *testing.T) {
	faults := map[string]runpodtest.Fault{
		"500": {Status: 500}, "reset": {Cut: true}, "HTML": {Status: 200, Body: "<html>"}, "429": {Status: 429},
		"empty at once": {Status: 204}, "unknown job": {Status: 200, Body: `{"jobsToStop":["unknown"]}`},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{HoldStop: time.Minute})
				f.Call, f.For = runpodtest.StopJobs, 5*time.Minute
				q.Inject(f)
				q.Submit("job", `{}`)
				c, _ := start(t, config(q))
				j := takeOne(t, c, "job")
				<-time.After(5 * time.Minute)
				if n := q.Ledger().Faults[runpodtest.StopJobs]; n < 10 || n > 305 {
					t.Errorf("asked %d times in 5 minutes", n)
				}
				q.Stop("job")
				begun := time.Now()
				<-j.Canceled
				if took := time.Since(begun); took > 16*time.Second {
					t.Errorf("canceled after %s", took)
				}
			})
		})
	}
}
