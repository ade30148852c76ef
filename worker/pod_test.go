package worker

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pod is a worker with a simulated ComfyUI, which is restarted as the
// supervisor would do it, and a source that the test feeds.
type pod struct {
	t      *testing.T
	comfy  *comfytest.Server
	slot   *Slot
	source *feed
	worker *Worker

	starts atomic.Int64 // of ComfyUI
	ends   chan error   // why ComfyUI has to be restarted
	stop   context.CancelFunc
	ended  chan error // what Run returned
}

// death is the reason of a gate whose ComfyUI was killed.
type death struct{ oom bool }

func (d death) Error() string       { return "killed by SIGKILL after 1s" }
func (d death) OutOfMemory() bool   { return d.oom }
func (d death) LastLines() []string { return []string{"the last thing it said"} }

// startPod runs a worker until the test ends or calls stop.
func startPod(t *testing.T, sim comfytest.Config, change func(*Config)) *pod {
	t.Helper()
	p := &pod{t: t, source: newFeed(), ends: make(chan error, 16), ended: make(chan error, 1)}
	sim.Exit = func(int, syscall.Signal) { p.ends <- death{} }
	p.comfy = comfytest.NewServer(t, sim)
	log := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	client := comfy.New(comfy.Config{Addr: p.comfy.Addr, PollSilent: 200 * time.Millisecond}, zap.NewNop())
	p.slot = &Slot{
		Gate: new(health.Gate), Comfy: client,
		Restart:   func(reason string) { p.slot.Gate.Close(errors.New(reason)); p.ends <- errors.New(reason) },
		Condemn:   func(reason error) { p.ends <- reason },
		GiveUp:    func(reason error) { p.slot.Gate.CloseForGood(reason) },
		Poke:      func() {},
		Worked:    func() {},
		Activity:  func() uint64 { return 0 },
		OutputDir: p.comfy.OutputDir(), InputDir: p.comfy.InputDir(),
	}
	cfg := Config{Source: p.source, Slots: []*Slot{p.slot}}
	if change != nil {
		change(&cfg)
	}
	p.worker = New(cfg, log)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	supervised := make(chan struct{})
	go func() { defer close(supervised); p.supervise(ctx) }()
	finished := make(chan struct{})
	go func() { defer close(finished); p.ended <- p.worker.Run(ctx) }()
	p.launch()
	t.Cleanup(func() {
		stop()
		<-finished
		<-supervised
		client.Close()
	})
	return p
}

// supervise restarts ComfyUI each time it ends.
func (p *pod) supervise(ctx context.Context) {
	for {
		select {
		case reason := <-p.ends:
			p.slot.Gate.Close(reason)
			p.slot.Comfy.Reset()
			if err := p.comfy.Restart(nil); err != nil {
				p.t.Errorf("restart the simulated ComfyUI: %v", err)
				return
			}
			for len(p.ends) > 0 {
				<-p.ends // more reasons to end the same one
			}
			p.launch()
		case <-ctx.Done():
			return
		}
	}
}

func (p *pod) launch() {
	p.starts.Add(1)
	p.slot.Launched()
	p.slot.Ready()
	p.slot.Gate.Open()
}

// do runs one job and returns its outcome.
func (p *pod) do(id, input string) delivered {
	p.t.Helper()
	p.source.submit(job.Job{ID: id, Input: json.RawMessage(input), Taken: time.Now()})
	return p.source.wait(p.t, id)
}

// executing waits until ComfyUI has begun n prompts.
func (p *pod) executing(n int) {
	p.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		changed := p.comfy.Changed()
		if len(p.comfy.Executions()) >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			p.t.Fatalf("ComfyUI did not begin %d prompts: %+v", n, p.comfy.Executions())
		}
	}
}

// feed is a source that a test fills.
type feed struct {
	jobs chan job.Job
	mu   sync.Mutex
	done map[string]chan delivered
	told map[string][]job.Progress
	// hold, if set, is what a delivery waits for.
	hold func(ctx context.Context, id string) error
}

// delivered is a result as it arrived.
type delivered struct {
	job.Result
	body   []byte   // the output document, or that of the failure
	hashes []string // of the files
}

func newFeed() *feed {
	return &feed{jobs: make(chan job.Job, 100), done: make(map[string]chan delivered), told: make(map[string][]job.Progress)}
}

func (f *feed) submit(j job.Job) {
	f.result(j.ID)
	f.jobs <- j
}

func (f *feed) result(id string) chan delivered {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done[id] == nil {
		f.done[id] = make(chan delivered, 4)
	}
	return f.done[id]
}

func (f *feed) wait(t *testing.T, id string) delivered {
	t.Helper()
	select {
	case d := <-f.result(id):
		return d
	case <-time.After(60 * time.Second):
		t.Fatalf("no result of job %s", id)
		return delivered{}
	}
}

func (f *feed) Take(ctx context.Context, n int) ([]job.Job, error) {
	select {
	case j := <-f.jobs:
		return []job.Job{j}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *feed) Progress(id string, p job.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told[id] = append(f.told[id], p)
}

func (f *feed) progress(id string) []job.Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told[id]
}

func (f *feed) Done(ctx context.Context, r job.Result) error {
	if f.hold != nil {
		if err := f.hold(ctx, r.ID); err != nil {
			return err
		}
	}
	d := delivered{Result: r}
	var body *payload.Body
	var err error
	if r.Output != nil {
		body, err = payload.Output(r.Output, r.Timings)
	} else {
		body, err = payload.Failure(r.Failure, r.Timings)
	}
	if err != nil {
		return err
	}
	reader := body.Reader()
	defer reader.Close()
	if d.body, err = io.ReadAll(reader); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	if r.Output != nil {
		for _, file := range r.Output.Files {
			d.hashes = append(d.hashes, hash(file.Content))
		}
	}
	f.result(r.ID) <- d
	return nil
}

func hash(c job.Content) string {
	f, err := c.Open()
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// wantOutput fails the test unless the job completed with so many files.
func (d delivered) wantOutput(t *testing.T, files int) {
	t.Helper()
	if d.Failure != nil {
		t.Fatalf("job %s failed: %v", d.ID, d.Failure)
	}
	if len(d.Output.Files) != files {
		t.Fatalf("job %s has %d files, want %d: %s", d.ID, len(d.Output.Files), files, d.body)
	}
}

// wantCause fails the test unless the job failed by that cause.
func (d delivered) wantCause(t *testing.T, cause string) {
	t.Helper()
	if d.Failure == nil {
		t.Fatalf("job %s completed, want it to fail by %s: %s", d.ID, cause, d.body)
	}
	if d.Failure.Cause != cause {
		t.Fatalf("job %s failed by %v, want %s", d.ID, d.Failure, cause)
	}
}

// entries counts what lies below a directory.
func entries(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	var walk func(string)
	walk = func(dir string) {
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.IsDir() {
				walk(dir + "/" + e.Name())
			} else {
				n++
			}
		}
	}
	walk(dir)
	return n
}
