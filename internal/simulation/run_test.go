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
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
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
	for _, j := range r.plan.jobs {
		if r.queue.Job(j.id).Outcome == nil {
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

// heal takes all faults back.
func (r *run) heal() {
	r.mu.Lock()
	r.healed = true
	pods := r.pods
	r.mu.Unlock()
	r.queue.Heal()
	r.store.heal()
	r.queueLink.set(false, false)
	r.storeLink.set(false, false)
	for _, p := range pods {
		for _, in := range p.instances {
			in.comfyui.heal()
			in.comfyui.link.set(false, false)
		}
	}
}

// startPod is the platform: it starts a pod, and another when that has ended.
func (r *run) startPod() {
	r.mu.Lock()
	n := len(r.pods) + 1
	over := r.finishing || n > mostPods
	r.mu.Unlock()
	if over {
		return
	}
	p := newPod(r, n)
	r.mu.Lock()
	r.pods = append(r.pods, p)
	r.mu.Unlock()
	r.wg.Go(func() {
		p.run()
		if r.current() == p {
			r.later(200*time.Millisecond, func() {
				if r.current() == p {
					r.startPod()
				}
			})
		}
	})
}

func (r *run) current() *pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[len(r.pods)-1]
}

// terminate ends the pod, by SIGTERM or at once, and starts the next beside it.
func (r *run) terminate(kill bool) (acted func() int) {
	p := r.current()
	if p.isOver() || len(r.living()) > 3 {
		return nil
	}
	if kill {
		p.kill()
	} else {
		p.stop()
	}
	r.startPod()
	return once
}

// hurryStopping is a second SIGTERM.
func (r *run) hurryStopping() {
	for _, p := range r.living() {
		p.mu.Lock()
		stopping := !p.stopped.IsZero()
		p.mu.Unlock()
		if stopping {
			p.rush()
		}
	}
}

// comfy is the ComfyUI that a fault is about.
func (r *run) comfy(f *fault) *comfyui {
	p := r.current()
	return p.instances[f.pick%len(p.instances)].comfyui
}

// redeliver hands out a job once more, one at hand or one that has ended.
func (r *run) redeliver(f *fault) (acted func() int) {
	j := r.plan.jobs[f.pick%len(r.plan.jobs)]
	if len(r.queue.Job(j.id).Handouts) == 0 || j.deaths > 0 || j.spoils || j.stopAfter > 0 {
		return nil
	}
	r.queue.Redeliver(j.id)
	return once
}

// finish stops the last pod, and waits for all of them.
func (r *run) finish() {
	r.mu.Lock()
	r.finishing = true
	last := r.pods[len(r.pods)-1]
	r.mu.Unlock()
	last.stop()
	for _, p := range r.pods {
		if !r.await(time.Minute, p.isOver) {
			r.violation("", "%s did not end", p.name)
			p.kill()
			<-p.over
		}
	}
}

// serveQueue is the queue, and looks who calls.
func (r *run) serveQueue(w http.ResponseWriter, req *http.Request) {
	parts := strings.Split(req.URL.Path, "/")
	if len(parts) > 4 && strings.HasPrefix(parts[3], "job-take") {
		r.polled(parts[4])
	}
	seen := &seenStatus{ResponseWriter: w}
	r.queue.ServeHTTP(seen, req)
	if seen.status >= 400 {
		r.calls.failed()
	}
}

// seenStatus notes the status of an answer.
type seenStatus struct {
	http.ResponseWriter
	status int
}

func (s *seenStatus) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *seenStatus) Unwrap() http.ResponseWriter { return s.ResponseWriter }

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

// saw is told of the phases of jobs.
func (r *run) saw(p *pod, e worker.Event) {
	if e.Progress != nil {
		return
	}
	r.mu.Lock()
	r.events = append(r.events, happening{at: e.At, job: e.Job, pod: p, phase: e.Phase, attempt: e.Attempt})
	faults := r.waiting[e.Job+e.Phase]
	delete(r.waiting, e.Job+e.Phase)
	r.mu.Unlock()
	for _, f := range faults {
		r.later(f.at, func() { r.strike(f) })
	}
}

func (r *run) opened(in *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in.gateShut = time.Time{}
	r.events = append(r.events, happening{at: time.Now(), in: in, phase: "gate open"})
}

func (r *run) shut(in *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.gateShut.IsZero() {
		in.gateShut = time.Now()
	}
	r.events = append(r.events, happening{at: time.Now(), in: in, phase: "gate shut"})
}

func (r *run) moved(in *instance, t supervisor.Transition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, happening{at: t.At, in: in, phase: string(t.To), detail: t.Reason, exit: t.Exit})
}

// shutFor is how long no ComfyUI of the pod has been ready, 0 if one is.
func (r *run) shutFor(p *pod) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	shortest := time.Since(p.started)
	for _, in := range p.instances {
		if in.gate.Err() == nil || in.gateShut.IsZero() && !p.started.Equal(time.Now()) {
			return 0
		}
		if !in.gateShut.IsZero() {
			shortest = min(shortest, time.Since(in.gateShut))
		}
	}
	return shortest
}

// asked is told when the worker asks its source for jobs.
func (r *run) asked(p *pod) {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if !stopped.IsZero() && time.Now().After(stopped) {
		r.violation("", "%s asks for jobs %v after it was told to stop", p.name, time.Since(stopped))
	}
	if d := r.shutFor(p); d > 0 {
		r.violation("", "%s asks for jobs, and none of its ComfyUIs has been ready for %v", p.name, d)
	}
}

// pollGrace is how long after the last ComfyUI has ended a poll may arrive that
// was on its way: it is read on for 2 s.
const pollGrace = 2200 * time.Millisecond

// polled is told when a poll for jobs has come to the queue.
func (r *run) polled(worker string) {
	r.mu.Lock()
	var from *pod
	for _, p := range r.pods {
		if p.name == worker {
			from = p
		}
	}
	r.mu.Unlock()
	if from == nil {
		return
	}
	if d := r.shutFor(from); d > pollGrace {
		r.violation("", "%s polls for jobs, and none of its ComfyUIs has been ready for %v", from.name, d)
	}
}
