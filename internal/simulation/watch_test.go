package simulation

import (
	"net/http"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

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

// What is seen of an instance besides the states of its process.
const (
	gateOpen  = "gate open"
	gateShut  = "gate shut"
	listening = "listens"
)

// listens is told when a ComfyUI begins to answer.
func (r *run) listens(in *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, happening{at: time.Now(), in: in, phase: listening})
}

func (r *run) opened(in *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in.gateShut = time.Time{}
	r.events = append(r.events, happening{at: time.Now(), in: in, phase: gateOpen})
}

func (r *run) shut(in *instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if in.gateShut.IsZero() {
		in.gateShut = time.Now()
	}
	r.events = append(r.events, happening{at: time.Now(), in: in, phase: gateShut})
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
// Taken is how many it has had.
func (r *run) asked(p *pod, taken int64) {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if !stopped.IsZero() && time.Now().After(stopped) {
		r.violation("", "%s asks for jobs %v after it was told to stop", p.name, time.Since(stopped))
	}
	if taken > 0 && r.plan.setup.refresh == worker.RefreshPod {
		r.violation("", "%s asks for another job, and is to be replaced after each", p.name)
	}
	if d := r.shutFor(p); d > 0 {
		r.violation("", "%s asks for jobs, and none of its ComfyUIs has been ready for %v", p.name, d)
	}
}

// pollGrace is how long after the last ComfyUI has ended a poll may arrive that
// was on its way.
const pollGrace = lastRead + 200*time.Millisecond

// polled is told when a poll for jobs has come to the queue.
func (r *run) polled(worker string) {
	r.mu.Lock()
	var from *pod
	for _, p := range r.pods {
		if p.name == worker {
			from = p
		}
	}
	dark := r.hasFiredAny("queue dark") // then it may be one of long ago
	r.mu.Unlock()
	if from == nil || dark {
		return
	}
	if d := r.shutFor(from); d > pollGrace {
		r.violation("", "%s polls for jobs, and none of its ComfyUIs has been ready for %v", from.name, d)
	}
}
