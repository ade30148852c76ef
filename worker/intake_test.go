package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// poll is one call of Take that a test answers.
type poll struct {
	ctx    context.Context
	n      int
	answer chan taken
}

// queue is a source whose polls the test answers one by one.
type queue struct{ polls chan poll }

func newQueue() *queue { return &queue{polls: make(chan poll)} }

func (q *queue) Take(ctx context.Context, n int) ([]job.Job, error) {
	p := poll{ctx, n, make(chan taken)}
	select {
	case q.polls <- p:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t := <-p.answer // an open poll is read to its end, whatever ctx does
	return t.value, t.err
}

func (*queue) Progress(string, job.Progress)          {}
func (*queue) Done(context.Context, job.Result) error { return nil }

func named(ids ...string) (jobs []job.Job) {
	for _, id := range ids {
		jobs = append(jobs, job.Job{ID: id})
	}
	return jobs
}

// asking starts a lane that asks for one job.
func asking(ctx context.Context, in *intake, g *health.Gate) <-chan string {
	got := make(chan string, 1)
	go func() {
		j, ok := in.next(ctx, g, false)
		if !ok {
			j.ID = "none"
		}
		got <- j.ID
	}()
	return got
}

func startIntake(ctx, drained context.Context, in *intake) <-chan string {
	ended := make(chan string, 1)
	go func() {
		left, err := in.run(ctx, drained)
		ended <- fmt.Sprint(len(left), " ", err)
	}()
	return ended
}

// Nothing is taken while the gate is closed.
func TestFault_C3_NoTakeWhileNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		ended := startIntake(ctx, t.Context(), in)
		got := asking(ctx, in, g)

		time.Sleep(time.Hour)
		select {
		case <-q.polls:
			t.Fatal("a job was asked for while the gate was closed")
		default:
		}
		g.Open()
		p := <-q.polls
		p.answer <- taken{value: named("a")}
		if id := <-got; id != "a" {
			t.Errorf("got job %q, want a", id)
		}
		stop()
		if e := <-ended; e != "0 <nil>" {
			t.Errorf("run returned %s", e)
		}
	})
}

// An open poll is ended when the gate closes, and no other follows before it opens.
func TestFault_C3_PollEndsWithReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		ended := startIntake(ctx, t.Context(), in)
		got := asking(ctx, in, g)
		p := <-q.polls
		if p.ctx.Err() != nil {
			t.Fatal("the poll was ended while the gate was open")
		}
		g.Close(errors.New("killed"))
		synctest.Wait()
		if p.ctx.Err() == nil {
			t.Error("the poll goes on though the gate is closed")
		}
		p.answer <- taken{err: p.ctx.Err()}
		time.Sleep(time.Hour)
		select {
		case <-q.polls:
			t.Fatal("a job was asked for while the gate was closed")
		default:
		}
		g.Open()
		p = <-q.polls
		p.answer <- taken{value: named("a")}
		if id := <-got; id != "a" {
			t.Errorf("got job %q, want a", id)
		}
		stop()
		if e := <-ended; e != "0 <nil>" {
			t.Errorf("run returned %s", e)
		}
	})
}

// A job that comes in the moment in which the gate closes waits for whoever asks next,
// and is not dropped with the request that it was meant for.
func TestJobThatComesAsTheGateClosesIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		ended := startIntake(ctx, t.Context(), in)
		for i := range 3000 {
			g.Open()
			got := asking(ctx, in, g)
			p := <-q.polls
			go g.Close(errors.New("killed"))
			p.answer <- taken{value: named(fmt.Sprint(i))}
			synctest.Wait()
			g.Open()
			select {
			case id := <-got:
				if id != fmt.Sprint(i) {
					t.Fatalf("got job %q, want %d", id, i)
				}
			case <-q.polls:
				t.Fatalf("job %d is lost: another is asked for", i)
			}
			g.Close(errors.New("killed"))
		}
		stop()
		if e := <-ended; e != "0 <nil>" {
			t.Errorf("run returned %s", e)
		}
	})
}

// A job that the last poll brings after the end of the drain comes back too.
func TestJobOfAPollThatOutlastsTheDrainComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		drained, over := context.WithCancel(t.Context())
		ended := startIntake(ctx, drained, in)
		got := asking(drained, in, g)
		p := <-q.polls
		stop()
		over()
		synctest.Wait()
		p.answer <- taken{value: named("late")}
		if e := <-ended; e != "1 <nil>" {
			t.Errorf("run returned %s, want the job back", e)
		}
		if id := <-got; id != "none" {
			t.Errorf("the lane got job %q after the drain", id)
		}
	})
}

func TestLaneWithdrawsWhenTheGateCloses(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		withdraws(t, func(g *health.Gate) { g.Close(errors.New("killed")) }, (*health.Gate).Open)
	})
	t.Run("held", func(t *testing.T) {
		withdraws(t, func(g *health.Gate) { g.Hold(errors.New("full")) }, (*health.Gate).Release)
	})
}

// withdraws fails the test unless a lane asks for nothing between shut and let.
func withdraws(t *testing.T, shut, let func(*health.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		startIntake(ctx, t.Context(), in)
		got := asking(ctx, in, g)
		p := <-q.polls // under way
		shut(g)
		synctest.Wait()
		p.answer <- taken{} // nothing came
		synctest.Wait()
		select {
		case <-q.polls:
			t.Fatal("asked again although nobody can run a job")
		default:
		}
		let(g)
		p = <-q.polls
		p.answer <- taken{value: named("a")}
		if id := <-got; id != "a" {
			t.Errorf("got job %q, want a", id)
		}
	})
}

// A job that arrives while the gate has just closed waits for it to open.
func TestJobThatFindsNoLaneWaitsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		startIntake(ctx, t.Context(), in)
		got := asking(ctx, in, g)
		p := <-q.polls
		g.Close(errors.New("killed"))
		synctest.Wait()
		p.answer <- taken{value: named("a")}
		synctest.Wait()
		g.Open()
		if id := <-got; id != "a" {
			t.Errorf("got job %q, want a", id)
		}
	})
}

func TestSeveralLanesAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		lanes := []<-chan string{asking(ctx, in, g), asking(ctx, in, g), asking(ctx, in, g)}
		synctest.Wait()
		startIntake(ctx, t.Context(), in)
		asked, want := 0, 3
		for want > 0 {
			p := <-q.polls
			if p.n > want {
				t.Errorf("asked for %d jobs with %d lanes free", p.n, want)
			}
			asked++
			p.answer <- taken{value: named(fmt.Sprint("job", asked))}
			want--
			synctest.Wait()
		}
		seen := make(map[string]bool)
		for _, lane := range lanes {
			seen[<-lane] = true
		}
		if len(seen) != 3 || seen["none"] {
			t.Errorf("lanes got %v, want three different jobs", seen)
		}
	})
}

// A job handed out at the very moment of the stop still finds its lane.
func TestFault_J6_JobInTheLastAnswerIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		lanes, endLanes := context.WithCancel(t.Context())
		defer endLanes()
		ended := startIntake(ctx, t.Context(), in)
		got := asking(lanes, in, g)
		p := <-q.polls
		stop()
		synctest.Wait()
		p.answer <- taken{value: named("late")}
		if id := <-got; id != "late" {
			t.Errorf("got job %q, want late", id)
		}
		if e := <-ended; e != "0 <nil>" {
			t.Errorf("run returned %s", e)
		}
	})
}

func TestJobsWithoutALaneComeBackAtTheEndOfTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, false)
		ctx, stop := context.WithCancel(t.Context())
		drained, over := context.WithCancel(t.Context())
		ended := startIntake(ctx, drained, in)
		lane, leave := context.WithCancel(t.Context())
		got := asking(lane, in, g)
		p := <-q.polls
		stop()
		leave() // nobody is left to do it
		<-got
		p.answer <- taken{value: named("late")}
		synctest.Wait()
		over()
		if e := <-ended; e != "1 <nil>" {
			t.Errorf("run returned %s, want the job back", e)
		}
	})
}

// With REFRESH_WORKER on the queue a pod takes one job and no more.
func TestFault_J10_SingleIntakeTakesOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, g := newQueue(), new(health.Gate)
		g.Open()
		in := newIntake(q, true)
		ended := startIntake(t.Context(), t.Context(), in)
		waiting, endLanes := context.WithCancel(t.Context())
		lanes := []<-chan string{asking(waiting, in, g), asking(waiting, in, g)}
		p := <-q.polls
		if p.n != 1 {
			t.Errorf("asked for %d jobs, want 1", p.n)
		}
		p.answer <- taken{value: named("only")}
		if e := <-ended; e != "0 <nil>" {
			t.Errorf("run returned %s", e)
		}
		endLanes()
		if got := <-lanes[0] + " " + <-lanes[1]; got != "only none" && got != "none only" {
			t.Errorf("lanes got %q, want one of them the only job", got)
		}
	})
}
