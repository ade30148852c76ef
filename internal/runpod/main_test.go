package runpod_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// newQueue returns a queue in memory whose stop channel holds its polls.
func newQueue(t *testing.T, cfg runpodtest.Config) *runpodtest.Server {
	if cfg.HoldStop == 0 {
		cfg.HoldStop = 90 * time.Second
	}
	return runpodtest.NewPipeServer(t, cfg)
}

// config returns the configuration of a worker at q.
func config(q *runpodtest.Server) runpod.Config {
	env := q.Env()
	template := func(name string) runpod.Template { return runpod.Template{Name: name, URL: env[name]} }
	return runpod.Config{
		TakeURL:   template("RUNPOD_WEBHOOK_GET_JOB"),
		DoneURL:   template("RUNPOD_WEBHOOK_POST_OUTPUT"),
		StreamURL: template("RUNPOD_WEBHOOK_POST_STREAM"),
		PingURL:   template("RUNPOD_WEBHOOK_PING"),
		APIKey:    env["RUNPOD_AI_API_KEY"],
		WorkerID:  env["RUNPOD_POD_ID"],
		Version:   "1.2.3",
		Dial:      q.Dial,
	}
}

// start returns a client whose Run is running until the end of the test.
func start(t *testing.T, cfg runpod.Config) (*runpod.Client, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	c, err := runpod.New(cfg, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
	})
	return c, logs
}

// take takes the next n jobs with one call.
func take(t *testing.T, c *runpod.Client, n int) []job.Job {
	t.Helper()
	jobs, err := c.Take(t.Context(), n)
	if err != nil {
		t.Fatalf("Take: %v", err)
	}
	return jobs
}

// takeOne takes one job and checks that it is the one wanted.
func takeOne(t *testing.T, c *runpod.Client, id string) job.Job {
	t.Helper()
	jobs := take(t, c, 1)
	if len(jobs) != 1 || jobs[0].ID != id {
		t.Fatalf("took %v, want job %s", jobs, id)
	}
	return jobs[0]
}

// takeNothing checks, in a bubble, that no job comes within d. When it returns,
// the queue knows that nobody takes any more.
func takeNothing(t *testing.T, c *runpod.Client, d time.Duration) {
	t.Helper()
	takeInVain(t, c, d)
	synctest.Wait()
}

func takeInVain(t *testing.T, c *runpod.Client, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if jobs, err := c.Take(ctx, 1); err != context.DeadlineExceeded || len(jobs) > 0 {
		t.Fatalf("Take = %v, %v, want nothing", jobs, err)
	}
}

// completed is a result with the job's id in it.
func completed(id string) job.Result {
	text, err := json.Marshal(map[string]string{"job": id})
	if err != nil {
		panic(err)
	}
	return job.Result{ID: id, Output: &job.Output{Values: map[string]json.RawMessage{"9": text}}}
}

func failed(id string) job.Result {
	return job.Result{ID: id, Failure: &job.Failure{
		Kind: "workflow", Cause: "node_failed", Message: "Node 4 raised ValueError.", Attempts: 1,
	}}
}

func finish(t *testing.T, c *runpod.Client, r job.Result) {
	t.Helper()
	if err := c.Done(t.Context(), r); err != nil {
		t.Fatalf("Done: %v", err)
	}
}

func check(t *testing.T, q *runpodtest.Server) {
	t.Helper()
	if err := q.Check(); err != nil {
		t.Errorf("the queue saw violations:\n%v", err)
	}
}

func wantOutcome(t *testing.T, q *runpodtest.Server, id, status string) runpodtest.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o, err := q.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if o.Status != status {
		t.Fatalf("job %s is %s (%s), want %s", id, o.Status, o.Error, status)
	}
	return o
}

// wantCause checks the cause that a failed job tells in its output.
func wantCause(t *testing.T, o runpodtest.Outcome, cause string) {
	t.Helper()
	var got struct{ Cause string }
	if err := json.Unmarshal(o.Output, &got); err != nil || got.Cause != cause {
		t.Errorf("cause is %q in %s (%v), want %q", got.Cause, o.Output, err, cause)
	}
	if o.Error == "" {
		t.Error("the failure has no message")
	}
}

// golden compares got with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// count returns how many log lines have a message.
func count(logs *observer.ObservedLogs, message string) int {
	return logs.FilterMessage(message).Len()
}

// text returns all that was logged, fields and all.
func text(logs *observer.ObservedLogs) string {
	var b strings.Builder
	for _, e := range logs.All() {
		b.WriteString(e.Message)
		for k, v := range e.ContextMap() {
			line, err := json.Marshal(map[string]any{k: v})
			if err != nil {
				panic(err)
			}
			b.Write(line)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
