package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
)

// run executes one attempt's prompt and returns what it made.
func (l *life) run(inside context.Context, in input, a *attempt, graph json.RawMessage) (*comfy.Outcome, error) {
	watch := &watch{life: l, meter: newMeter(in.workflow), attempt: a.n, queued: time.Now()}
	stop := l.watchStall(&watch.events)
	defer stop()

	extra := make(map[string]any)
	if in.apiKey != "" {
		extra["api_key_comfy_org"] = in.apiKey
	}
	outcome, err := l.slot.Comfy.Run(inside, comfy.Prompt{ID: a.id, Workflow: graph, ExtraData: extra}, watch.see)
	watch.end()
	return outcome, err
}

// watch turns the events of one prompt into progress and timings.
type watch struct {
	life    *life
	meter   *meter
	attempt int
	events  atomic.Uint64
	queued  time.Time
	started time.Time
}

// see is called by the client for each event of the prompt, one at a time.
func (w *watch) see(e comfy.Event) {
	w.events.Add(1)
	switch e.(type) {
	case comfy.Started:
		w.life.slot.gpu.started(w.life.job.ID)
		if w.started.IsZero() {
			w.started = time.Now()
			w.life.timings.Queue += w.started.Sub(w.queued)
		}
	case comfy.SocketLost:
		w.life.slot.Poke() // a cut connection may be a dead process
	}
	p, moved := w.meter.see(e)
	if !moved {
		return
	}
	p.Phase, p.Attempt = PhaseExecute, w.attempt
	w.life.w.cfg.Source.Progress(w.life.job.ID, p)
	w.life.w.cfg.Observe(Event{Job: w.life.job.ID, Phase: PhaseExecute, Attempt: w.attempt, At: time.Now(), Progress: &p})
}

func (w *watch) end() {
	if w.started.IsZero() { // the event was missed
		w.started = w.queued
	}
	w.life.timings.Execute += time.Since(w.started)
}

// watchStall condemns the process when neither the prompt nor the process shows
// a sign of life for the stall limit. The function it returns ends the watch.
func (l *life) watchStall(events *atomic.Uint64) (stop func()) {
	ctx, cancel := context.WithCancel(l.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		interval := l.w.cfg.Stall / 10
		tick := time.NewTicker(interval)
		defer tick.Stop()
		silence := health.NewSilence(func() uint64 { return events.Load() + l.slot.Activity() })
		for {
			select {
			case <-tick.C:
				if silence.Tick(2*interval) >= l.w.cfg.Stall {
					l.slot.Condemn(&stallError{l.w.cfg.Stall})
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// stallError says that an execution stands still.
type stallError struct{ limit time.Duration }

func (e *stallError) Error() string {
	return fmt.Sprintf("the execution showed no progress, no output and no use of the processor for %v", e.limit)
}
