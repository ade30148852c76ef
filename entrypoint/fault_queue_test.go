package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// queueKey is the key of the simulated queues.
const queueKey = "rpa_test_key_0123456789"

// hold is how long the queue holds a poll: short, because a program that stops
// reads its poll to the end.
const hold = 600 * time.Millisecond

// endless is the input of a job that goes on until somebody interrupts it, which
// it looks for a hundred times a second.
func endless(seed int) string {
	return simulated("SimSleep", fmt.Sprintf(`{"seconds":600,"mode":"poll","steps":60000,"seed":%d}`, seed))
}

// waitLines waits until n lines of the log have all words.
func (p *program) waitLines(n int, words ...string) {
	p.t.Helper()
	p.wait(fmt.Sprintf("%d lines with %q", n, words), func() bool {
		found := 0
		for line := range strings.Lines(p.log()) {
			if hasAll(line, words) {
				found++
			}
		}
		return found >= n
	})
}

// wait waits until cond is true.
func (p *program) wait(what string, cond func() bool) {
	p.t.Helper()
	ctx, cancel := contextFor(p.t)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-p.ended:
			if !cond() { // else its last act made it so
				p.t.Fatalf("comfyvisor ended with code %d before: %s", p.code, what)
			}
			return
		case <-ctx.Done():
			p.t.Fatalf("too late: %s", what)
		}
	}
}

// executed waits until ComfyUI has ended n prompts, and returns them.
func (p *program) executed(n int) []comfytest.Execution {
	p.t.Helper()
	p.wait(fmt.Sprintf("%d executions", n), func() bool { return len(p.executions()) >= n })
	return p.executions()
}

// killed ends comfyvisor as a lost machine does: without a word, ComfyUI and all.
func (p *program) killed() {
	p.t.Helper()
	comfy := p.comfyPID()
	p.signal(syscall.SIGKILL)
	p.exit()
	_ = syscall.Kill(-comfy, syscall.SIGKILL) // it may have noticed by itself
}

// ledgered waits until the queue's ledger is as it should be.
func ledgered(t *testing.T, q *runpodtest.Server, what string, cond func(runpodtest.Ledger) bool) {
	t.Helper()
	ctx, cancel := contextFor(t)
	defer cancel()
	if err := q.WaitLedger(ctx, cond); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// handed tells, of a ledger, how often a job was handed out.
func handed(l runpodtest.Ledger, id string) int {
	for _, j := range l.Jobs {
		if j.ID == id {
			return len(j.Handouts)
		}
	}
	return 0
}

// checked fails the test for each violation that the queue has seen.
func checked(t *testing.T, q *runpodtest.Server) {
	t.Helper()
	if err := q.Check(); err != nil {
		t.Errorf("the queue saw violations:\n%v", err)
	}
}

// outcomes counts executions by how they ended.
func outcomes(runs []comfytest.Execution) map[string]int {
	n := make(map[string]int)
	for _, e := range runs {
		n[e.Outcome]++
	}
	return n
}

// bothGenerations runs a test with the older and the newer ComfyUI.
func bothGenerations(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// A worker that is lost in mid-job costs nothing but time: when its lease is over, another worker of the same queue (one that speaks Waverless' dialect) does the job, and it ends exactly once.
func TestFault_J4_AnotherWorkerDoesTheJobOfALostOne(t *testing.T) {
	t.Parallel()
	q := runpodtest.NewServer(t, runpodtest.Config{
		APIKey: queueKey, Waverless: true, Lease: 5 * time.Second, PingInterval: time.Second,
	})
	workers := make(map[string]*program)
	for _, name := range []string{"worker-1", "worker-2"} {
		workers[name] = start(t, options{env: with(q.Env(), "RUNPOD_POD_ID", name)})
	}
	for _, p := range workers {
		p.waitReady()
	}
	q.Submit("a", slow(1, 1))
	ledgered(t, q, "job a is handed out", func(l runpodtest.Ledger) bool { return handed(l, "a") == 1 })
	lost := q.Job("a").Handouts[0].Worker
	workers[lost].waitLine("got prompt")
	workers[lost].killed()

	if o := ends(t, q, "a"); o.Status != runpodtest.Completed || o.Worker == lost {
		t.Errorf("job a: %s by %s: %s", o.Status, o.Worker, o.Error)
	}
	if n := len(q.Job("a").Handouts); n != 2 {
		t.Errorf("job a was handed out %d times, want 2", n)
	}
	checked(t, q)
}

// A job that the queue hands out again while it runs, and once more after its end, is executed once; the later hand-out gets the same result.
func TestFault_J3_RedeliveredJobIsExecutedOnce(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: hold}, "JOB_PREFETCH", "1")
	q.Submit("a", slow(4, 1))
	p.waitLine("got prompt")
	q.Redeliver("a")
	ledgered(t, q, "handed out again while it runs", func(l runpodtest.Ledger) bool { return handed(l, "a") == 2 })
	first := ends(t, q, "a")
	if first.Status != runpodtest.Completed {
		t.Fatalf("job a: %+v", first)
	}
	p.waitLine("job completed")
	q.Redeliver("a")
	ctx, cancel := contextFor(t)
	defer cancel()
	if err := q.WaitLedger(ctx, func(l runpodtest.Ledger) bool { return len(l.Jobs[0].Posts) == 2 }); err != nil {
		t.Fatal(err)
	}
	for _, post := range q.Job("a").Posts {
		if post.SHA256 != first.SHA256 {
			t.Errorf("a later result has other bytes: %+v", post)
		}
	}
	if got := outcomes(p.executions()); got[comfytest.Success] != 1 || len(got) != 1 {
		t.Errorf("executions: %v, want one success", got)
	}
	checked(t, q)
}

// A refused key makes the pod unready, with the status as reason; the program lives on and asks rarely.
func TestFault_J12_RefusedKeyShowsInReadiness(t *testing.T) {
	t.Parallel()
	// Five takes in a row have to go wrong. After a refused key the pause is 30 s,
	// so four of them go wrong in another way.
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: queueKey})
	q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, Times: 4, Status: http.StatusBadGateway})
	q.Inject(runpodtest.Fault{Call: runpodtest.TakeJobs, For: time.Hour, Status: http.StatusUnauthorized})
	p := start(t, options{env: q.Env()})
	p.waitReady()

	var ready struct {
		Ready  bool
		Reason string
	}
	p.wait("/readyz tells", func() bool { return p.get(p.status+"/readyz", &ready) == http.StatusServiceUnavailable })
	if ready.Ready || !strings.Contains(ready.Reason, "401") || strings.Contains(ready.Reason, queueKey) {
		t.Errorf("/readyz = %+v, want the status and no key", ready)
	}
	quiet, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	before := q.Ledger().Faults[runpodtest.TakeJobs]
	_ = q.WaitLedger(quiet, func(l runpodtest.Ledger) bool { return l.Faults[runpodtest.TakeJobs] > before+1 })
	if n := q.Ledger().Faults[runpodtest.TakeJobs]; n > before+1 {
		t.Errorf("%d takes within 3 s with a refused key", n-before)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}

// A webhook that is no URL ends the program with 78 and the variable's name, never its value.
func TestFault_J13_BadWebhookEndsTheStart(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT", "RUNPOD_WEBHOOK_POST_STREAM", "RUNPOD_WEBHOOK_PING"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const canary = "canary-0123456789"
			q := runpodtest.New(runpodtest.Config{APIKey: queueKey})
			p := start(t, options{env: with(q.Env("http://queue.test"), name, canary+"://take/$ID")})
			if code := p.exit(); code != exitConfig {
				t.Errorf("exit code = %d, want %d", code, exitConfig)
			}
			said := p.log() + p.stdout.String()
			if !strings.Contains(said, name) || strings.Contains(said, canary) {
				t.Errorf("want the name and not the value: %s", said)
			}
		})
	}
}

// With REFRESH_WORKER nothing is taken beside the job at hand, though JOB_PREFETCH asks for it.
func TestFault_J10_RefreshTurnsPrefetchOff(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: hold}, "REFRESH_WORKER", "true", "JOB_PREFETCH", "1")
	q.Submit("a", slow(1, 1))
	q.Submit("b", picture(2))
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed || !o.StopPod {
		t.Errorf("job a: %+v", o)
	}
	if l := q.Ledger(); l.Waiting != 1 || handed(l, "b") != 0 {
		t.Errorf("%d jobs wait, b was handed out: %+v; want it left to the queue", l.Waiting, q.Job("b").Handouts)
	}
	checked(t, q)
}

// causeOf is the cause that a failed job tells.
func causeOf(o runpodtest.Outcome) string {
	var told struct{ Cause string }
	_ = json.Unmarshal(o.Output, &told) // what is no failure has no cause
	return told.Cause
}
