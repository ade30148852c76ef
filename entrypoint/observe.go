package main

import (
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/event"
	"github.com/comfyvisor/comfyvisor/internal/status"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// observer publishes what happens, and counts it. It counts before it
// publishes, because readers of the bus may lose events and counters must not.
type observer struct {
	bus     *event.Bus
	metrics *status.Metrics
	scrub   func(text string) string
	panics  *containment
}

// gate tells of the opening of an instance's gate, or of its closing for a reason.
func (o observer) gate(instance string, reason error) {
	o.metrics.Gate(instance, reason == nil)
	e := event.Gate{At: time.Now(), Instance: instance, Open: reason == nil}
	if reason != nil {
		e.Reason = o.scrub(reason.Error())
	}
	o.bus.Publish(e)
}

// child tells of a change of the child's state.
func (o observer) child(instance string, t supervisor.Transition, pid int) {
	o.metrics.ChildState(instance, string(t.From), string(t.To))
	e := event.Child{At: t.At, Instance: instance, Incarnation: t.Incarnation, PID: pid, From: string(t.From), To: string(t.To), Reason: o.scrub(t.Reason)}
	if t.Exit != nil {
		e.End = exitKind(*t.Exit)
		o.metrics.Ended(instance, e.End, t.Exit.Uptime)
		if t.To == supervisor.StateBackoff {
			o.metrics.Restarted(instance, e.End)
		}
	}
	o.bus.Publish(e)
}

// exitKind is a word for the end of an incarnation, one of few.
func exitKind(e supervisor.Exit) string {
	switch {
	case e.Err != nil:
		return "start"
	case e.Planned:
		return "planned"
	case e.Reboot:
		return "reboot"
	case e.Cause != nil:
		return "no_good"
	case e.OutOfMemory():
		return "out_of_memory"
	case e.Signal != 0:
		return "signal"
	}
	return "exit"
}

// gauges tells what is in use.
func (o observer) gauges(g event.Gauges) {
	o.metrics.Memory(g.Memory, g.MemoryLimit)
	for _, u := range g.Instances {
		o.metrics.Child(u.Instance, u.Resident, u.VRAMUsed, u.VRAMTotal)
	}
	o.bus.Publish(g)
}

// job tells of a phase of a job.
func (o observer) job(e worker.Event) {
	switch {
	case e.Progress != nil:
		o.progress(e)
		return
	case e.Phase == worker.PhaseTake:
		o.metrics.JobTaken()
	}
	told := event.Job{At: e.At, ID: e.Job, Phase: e.Phase, Attempt: e.Attempt, Elapsed: e.Elapsed}
	if r := e.Result; r != nil {
		o.count(e)
		if r.Failure != nil {
			told.Cause = r.Failure.Cause
		}
	}
	o.bus.Publish(told)
}

// progress tells how far a job has come.
func (o observer) progress(e worker.Event) {
	p := e.Progress
	told := event.Progress{
		At: e.At, Job: e.Job, Percent: p.Percent, Node: p.Node, Class: p.Class, Title: p.Title,
		Step: p.Step, Steps: p.Steps, Left: time.Duration(p.Left * float64(time.Second)),
	}
	if p.Preview != nil {
		told.Preview = &event.Preview{MIME: p.Preview.MIME, Data: p.Preview.Data}
	}
	o.bus.Publish(told)
}

// count notes the end of a job.
func (o observer) count(e worker.Event) {
	r := e.Result
	outcome, cause := "completed", ""
	if r.Failure != nil {
		outcome, cause = "failed", r.Failure.Cause
	}
	o.metrics.JobDone(outcome, cause, e.Elapsed)
	o.metrics.Received(e.Received)
	for name, d := range map[string]time.Duration{
		"prepare": r.Timings.Prepare, "queue": r.Timings.Queue, "execute": r.Timings.Execute, "deliver": r.Timings.Deliver,
	} {
		if d > 0 {
			o.metrics.Phase(name, d)
		}
	}
	if r.Output != nil && e.Undelivered == nil {
		var bytes int64
		stored := "inline"
		for _, f := range r.Output.Files {
			bytes += f.Content.Size
			if f.URL != "" {
				stored = "s3"
			}
		}
		o.metrics.Delivered(stored, bytes)
	}
}

// lastLines is what ComfyUI wrote last, as a text to follow an error.
func lastLines(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "; its last lines:\n" + strings.Join(lines, "\n")
}
