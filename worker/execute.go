package worker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// run executes one attempt's prompt and returns what it made.
func (l *life) run(inside context.Context, in input, a *attempt, graph json.RawMessage) (*comfy.Outcome, error) {
	l.reached, l.timings.Nodes = job.Progress{}, make(map[string]time.Duration)
	watch := &watch{life: l, meter: newMeter(in.workflow), attempt: a.n, queued: time.Now(), running: make(chan struct{})}
	defer watch.stall()()

	extra := make(map[string]any)
	if in.apiKey != "" {
		extra["api_key_comfy_org"] = in.apiKey
	}
	l.slot.gpu.submitted(l.job.ID)
	outcome, err := l.slot.Comfy.Run(inside, comfy.Prompt{
		ID: a.id, Workflow: graph, ExtraData: extra,
		Again: func() { l.lookBefore(inside, a) },
	}, watch.see)
	watch.end()
	return outcome, err
}

// watch turns the events of one prompt into progress and timings.
type watch struct {
	life    *life
	meter   *meter
	attempt int
	queued  time.Time
	started time.Time
	shown   time.Time     // the last preview for the source
	watched time.Time     // the last one for who watches
	running chan struct{} // closed when started is set

	node  string    // at work
	since time.Time // when it began
}

// see is called by the client for each event of the prompt, one at a time.
func (w *watch) see(e comfy.Event) {
	w.life.slot.events.Add(1)
	switch e := e.(type) {
	case comfy.Queued:
		if w.life.submitted != nil {
			w.life.submitted()
		}
	case comfy.Executing:
		w.turnTo(e.Node)
	case comfy.Started:
		w.life.slot.gpu.started(w.life.job.ID)
		if w.started.IsZero() {
			w.started = time.Now()
			w.life.timings.Queue += w.started.Sub(w.queued)
			close(w.running)
		}
	case comfy.Finished:
		if w.life.nearEnd != nil {
			w.life.nearEnd()
		}
	case comfy.SocketLost:
		w.life.slot.Poke() // a cut connection may be a dead process
	}
	if preview, ok := e.(comfy.Preview); ok {
		w.show(preview)
		return
	}
	if p, moved := w.meter.see(e, time.Now()); moved {
		w.tell(p)
		w.observe(p)
	}
}

// previewLimit is the size in bytes from which a picture is no preview.
const previewLimit = 256 << 10

// watchedInterval is the least time between two previews for who watches.
const watchedInterval = 250 * time.Millisecond

// show tells of a preview of the node at work, each of those who want any if
// their last one was long enough ago.
func (w *watch) show(e comfy.Preview) {
	cfg, p, now := w.life.w.cfg, w.meter.told, time.Now()
	if e.Node != p.Node || len(e.Data) > previewLimit {
		return
	}
	p.Preview = &job.Preview{MIME: e.MIME, Data: e.Data}
	if cfg.Previews > 0 && now.Sub(w.shown) >= cfg.Previews {
		w.shown = now
		w.tell(p)
	}
	if now.Sub(w.watched) >= watchedInterval && cfg.Watched() {
		w.watched = now
		w.observe(p)
	}
}

// tell tells the source.
func (w *watch) tell(p job.Progress) {
	p.Phase, p.Attempt = PhaseExecute, w.attempt
	w.life.reached = p
	w.life.w.cfg.Source.Progress(w.life.job.ID, p)
}

// observe tells who watches.
func (w *watch) observe(p job.Progress) {
	p.Phase, p.Attempt = PhaseExecute, w.attempt
	w.life.w.cfg.Observe(Event{Job: w.life.job.ID, Phase: PhaseExecute, Attempt: w.attempt, At: time.Now(), Progress: &p})
}

func (w *watch) end() {
	if w.started.IsZero() { // the event was missed
		w.started = w.queued
	}
	w.life.timings.Execute += time.Since(w.started)
	w.turnTo("")
}

// turnTo notes that another node is at work, or none.
func (w *watch) turnTo(node string) {
	if node == w.node {
		return
	}
	now := time.Now()
	if w.node != "" {
		w.life.timings.Nodes[w.node] += now.Sub(w.since)
	}
	w.node, w.since = node, now
}
