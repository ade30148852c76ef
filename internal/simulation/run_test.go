package simulation

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

var discard = log.New(io.Discard, "", 0)

const (
	// faulty is how long after the last job has come faults may still happen.
	faulty = time.Minute
	// recovery is how long the jobs may need when no fault happens any more.
	recovery = 10 * time.Minute
	// mostPods ends a run whose pods do not live.
	mostPods = 60
)

// A run is one plan at work, in its bubble.
type run struct {
	plan   plan
	weaken weakness
	dir    string
	log    *zap.Logger
	logged *book

	queue                *runpodtest.Queue
	queueLink, storeLink *link
	store                *store
	calls                rate // failed ones of the queue

	wg   sync.WaitGroup
	done chan struct{}

	ended int // so many of the first jobs are known to have ended

	mu         sync.Mutex
	began      time.Time
	links      uint64
	pods       []*pod
	finishing  bool
	healed     bool
	waiting    map[string][]*fault // by job and phase
	fired      []*firing
	violations []violation
	events     []happening
	records    map[string]record
}

// A firing is a fault that has happened.
type firing struct {
	fault *fault
	at    time.Time
	acted func() int // nil if it found nothing to act on
}

// A violation is something that must not be. Job is "" if it is about none.
type violation struct{ job, text string }

// play plays a plan once and returns what it was like.
func play(t *testing.T, p plan, w weakness) (r *run) {
	dir, err := os.MkdirTemp(scratch, "sim-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r = &run{plan: p, weaken: w, dir: dir, logged: new(book), records: make(map[string]record), waiting: make(map[string][]*fault)}
	r.log = zap.New(r.logged)
	defer func() {
		if stuck := recover(); stuck != nil {
			r.violation("", "%v:\n%s", stuck, leftGoroutines())
		}
	}()
	synctest.Test(t, func(*testing.T) { r.main() })
	return r
}

// leftGoroutines are the stacks of those that a bubble has left behind.
func leftGoroutines() string {
	buf := make([]byte, 1<<20)
	var left []string
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "synctest bubble") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// main is the whole run: jobs and faults, the healing, and the end.
func (r *run) main() {
	r.began, r.done = time.Now(), make(chan struct{})
	closeServers := r.serve()
	r.startPod()
	for i := range r.plan.faults {
		r.schedule(&r.plan.faults[i])
	}
	for i := range r.plan.jobs {
		r.schedulJob(&r.plan.jobs[i])
	}
	<-time.After(r.plan.span)
	r.await(faulty, r.allEnded)
	r.heal()
	ended := r.await(recovery, func() bool { return r.allEnded() && r.idle() })
	if !ended {
		r.stuck()
	}
	r.finish()
	r.judge()
	close(r.done)
	closeServers()
	r.wg.Wait()
}

// serve starts the queue and the store.
func (r *run) serve() (end func()) {
	r.queue = runpodtest.New(runpodtest.Config{APIKey: "key", Hold: hold, HoldStop: hold, Lease: lease, Result: r.accept})
	r.store = newStore()
	r.queueLink, r.storeLink = r.newLink(false), r.newLink(false)
	var servers []*http.Server
	var serving sync.WaitGroup
	serve := func(l *link, h http.Handler) {
		s, on := &http.Server{Handler: h, ErrorLog: discard}, l.listen()
		servers = append(servers, s)
		serving.Go(func() { _ = s.Serve(on) })
	}
	serve(r.queueLink, http.HandlerFunc(r.serveQueue))
	serve(r.storeLink, r.store)
	return func() {
		for _, s := range servers {
			s.Close()
		}
		serving.Wait()
	}
}

// newLink returns a link with wires of its own.
func (r *run) newLink(local bool) *link {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links++
	return newLink(local, r.plan.setup.latency, stream(r.plan.seed, streamWires+r.links<<8))
}

// later calls f after a while, unless the run is over.
func (r *run) later(d time.Duration, f func()) {
	r.wg.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-r.done:
		}
	})
}

func (r *run) schedulJob(j *plannedJob) {
	r.later(j.at, func() {
		r.queue.SubmitEntry(j.id, j.entry())
		if j.stopAfter > 0 {
			r.later(j.stopAfter, func() { r.queue.Stop(j.id) })
		}
	})
}

func (r *run) schedule(f *fault) {
	if f.job == "" {
		r.later(f.at, func() { r.strike(f) })
		return
	}
	r.waiting[f.job+f.phase] = append(r.waiting[f.job+f.phase], f)
}

// strike makes a fault happen.
func (r *run) strike(f *fault) {
	r.mu.Lock()
	if r.healed {
		r.mu.Unlock()
		return
	}
	x := &firing{fault: f, at: time.Now()}
	r.fired = append(r.fired, x)
	r.mu.Unlock()
	acted := f.strike(r, f)
	r.mu.Lock()
	defer r.mu.Unlock()
	x.acted = acted
}

// await waits until cond is true, d at most, and tells whether it is.
func (r *run) await(d time.Duration, cond func() bool) bool {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !cond(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// allEnded tells whether every job has ended, as far as the queue knows.
func (r *run) allEnded() bool {
	for ; r.ended < len(r.plan.jobs); r.ended++ {
		if r.queue.Job(r.plan.jobs[r.ended].id).Outcome == nil {
			return false
		}
	}
	return true
}

// idle tells whether no pod has a job at hand, nor the queue one to give.
func (r *run) idle() bool {
	for _, p := range r.living() {
		if p.work.Active() > 0 {
			return false
		}
	}
	return r.queue.Waiting() == 0
}

func (r *run) living() (pods []*pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pods {
		if !p.isOver() {
			pods = append(pods, p)
		}
	}
	return pods
}

func (r *run) violation(job, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, violation{job, fmt.Sprintf(format, args...)})
}

// scratch is where the ComfyUIs keep their files: in memory if that can be.
var scratch = func() string {
	if dir, err := os.MkdirTemp("/dev/shm", "sim-"); err == nil {
		os.Remove(dir)
		return filepath.Dir(dir)
	}
	return os.TempDir()
}()
