//go:build docker

package dockertest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A queue is a simulated one that containers reach over a network of their own.
type queue struct {
	*runpodtest.Queue
	network string
	url     string
}

func newQueue(t *testing.T) *queue {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	id, err := docker(ctx, "network", "create", "--label", label, "comfyvisor-test-"+strings.ToLower(t.Name()))
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{network: strings.TrimSpace(id), Queue: runpodtest.New(runpodtest.Config{Hold: 5 * time.Second, HoldStop: 5 * time.Second, PingInterval: time.Second})}
	t.Cleanup(func() {
		if _, err := docker(ctx, "network", "rm", q.network); err != nil {
			t.Error(err)
		}
	})
	gateway, err := docker(ctx, "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", q.network)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", strings.TrimSpace(gateway)+":0")
	if err != nil {
		t.Fatal(err)
	}
	q.url = "http://" + l.Addr().String()
	server := &http.Server{Handler: q.Queue, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // its end is the test's
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return q
}

// worker starts a container that takes its jobs from the queue.
func (q *queue) worker(t *testing.T, args ...string) *container {
	t.Helper()
	args = append(args, "--network", q.network, "--env", "SERVE_API_LOCALLY=false")
	for name, value := range q.Env(q.url) {
		args = append(args, "--env", name+"="+value)
	}
	c := start(t, sim, args...)
	c.waitReady()
	return c
}

// outcome waits for the end of a job.
func (q *queue) outcome(t *testing.T, id string) runpodtest.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	o, err := q.Wait(ctx, id)
	if err != nil {
		t.Fatalf("the outcome of %s: %v", id, err)
	}
	return o
}

// begun waits until a job is at work.
func (q *queue) begun(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := q.WaitLedger(ctx, func(l runpodtest.Ledger) bool {
		for _, j := range l.Jobs {
			if j.ID == id && len(j.Progress) > 0 {
				return true
			}
		}
		return false
	}); err != nil {
		t.Fatalf("progress of %s: %v", id, err)
	}
}

func input(job string) string {
	return strings.TrimSuffix(strings.TrimPrefix(job, `{"input":`), "}")
}

const (
	slow    = `{"seconds":3,"mode":"poll"}`
	endless = `{"seconds":600,"mode":"poll"}`
)

func TestStopInTheMiddleOfAJob(t *testing.T) {
	t.Run("one that is nearly done is finished", func(t *testing.T) {
		q := newQueue(t)
		c := q.worker(t)
		q.Submit("short", input(node("SimSleep", slow)))
		q.begun(t, "short")
		took, code := c.stop(10 * time.Second)
		if o := q.outcome(t, "short"); o.Status != runpodtest.Completed || code != "0" || took > 10*time.Second {
			t.Errorf("stopped after %v with %s, the job is %s %q; want 0 within the grace, and COMPLETED", took, code, o.Status, o.Error)
		}
		if err := q.Check(); err != nil {
			t.Error(err)
		}
	})
	t.Run("one that is too long is reported", func(t *testing.T) {
		q := newQueue(t)
		c := q.worker(t)
		q.Submit("long", input(node("SimSleep", endless)))
		q.begun(t, "long")
		took, code := c.stop(10 * time.Second)
		if o := q.outcome(t, "long"); o.Status != runpodtest.Failed || code != "143" || took > 10*time.Second {
			t.Errorf("stopped after %v with %s, the job is %s %q; want 143 within the grace, and FAILED", took, code, o.Status, o.Error)
		}
		if err := q.Check(); err != nil {
			t.Error(err)
		}
	})
}

// The network between pod and queue is cut while a job runs, and comes back: the
// job is delivered, once, and the next one too.
func TestNetworkIsCutDuringAJob(t *testing.T) {
	q := newQueue(t)
	c := q.worker(t)
	q.Submit("cut", input(node("SimSleep", slow)))
	q.begun(t, "cut")
	c.docker("network", "disconnect", q.network, c.id)
	// The job ends while nobody can be told.
	c.eventually("the end of the job in ComfyUI", func() error {
		if !strings.Contains(c.logged(), "Prompt executed in") {
			return errors.New("it goes on")
		}
		return nil
	})
	c.docker("network", "connect", q.network, c.id)
	if o := q.outcome(t, "cut"); o.Status != runpodtest.Completed {
		t.Errorf("the job during the cut is %s %q, want COMPLETED", o.Status, o.Error)
	}
	q.Submit("after", input(node("SimSleep", `{"seconds":0.1}`)))
	if o := q.outcome(t, "after"); o.Status != runpodtest.Completed {
		t.Errorf("the job after the cut is %s %q, want COMPLETED", o.Status, o.Error)
	}
	if err := q.Check(); err != nil {
		t.Error(err)
	}
	c.wantNoZombies()
}
