package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/gpuerror"
)

// gpu is what is known of the GPU behind a slot. Its zero value is a GPU that
// nothing is known of.
type gpu struct {
	mu      sync.Mutex
	history gpuerror.History
	job     string   // that runs, "" for none
	queued  []string // submitted and not known to run, in ComfyUI's order
	doomed  *doom    // nil for a process that nothing was decided on
}

// A doom is the end that a process is about to be given.
type doom struct {
	poison error
	timer  *time.Timer
}

// raiseNotice is how long a process that is no good any more is left, for the node
// at work to raise what its lines have told of: the exception names the node, which
// helps the job's user, and the lines do not.
const raiseNotice = time.Second

// raised takes what is known to be of a job.
func (g *gpu) raised(f gpuerror.Finding, job string) gpuerror.Action {
	g.mu.Lock()
	defer g.mu.Unlock()
	action, history := g.history.Next(f, job)
	g.history = history
	return action
}

// told takes what a line of the process said. It may be here before the events
// that the running job has ended and the next one has begun.
func (g *gpu) told(f gpuerror.Finding) gpuerror.Action {
	g.mu.Lock()
	defer g.mu.Unlock()
	jobs := g.jobs()
	action, history := g.history.Next(f, jobs[0], jobs[1:]...)
	g.history = history
	return action
}

// jobs are the one that runs, "" for none, and those behind it.
func (g *gpu) jobs() []string {
	if g.job == "" && len(g.queued) > 0 {
		return g.queued
	}
	return append([]string{g.job}, g.queued...)
}

func (g *gpu) submitted(job string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queued = append(g.queued, job)
}

func (g *gpu) started(job string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.job = job
	g.forget(job)
}

func (g *gpu) ended(job string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.job == job {
		g.job = ""
	}
	g.forget(job)
}

func (g *gpu) forget(job string) {
	g.queued = slices.DeleteFunc(g.queued, func(other string) bool { return other == job })
}

// Running is the id of the job that the slot's ComfyUI executes, "" for none.
// A job that was submitted counts: the lines of a process are often here before
// the event that the job has started.
func (s *Slot) Running() string {
	s.gpu.mu.Lock()
	defer s.gpu.mu.Unlock()
	return s.gpu.jobs()[0]
}

// atWork is the job that is known to run, "" for none.
func (g *gpu) atWork() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.job
}

// poisoned tells whether the job may have poisoned a process.
func (g *gpu) poisoned(job string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.history.Poisoned(job)
}

// suspect is told that the job, which runs next, may have poisoned another ComfyUI.
func (g *gpu) suspect(job string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.history = g.history.Suspect(job)
}

func (g *gpu) succeeded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.history = g.history.Succeeded()
}

// Launched tells the slot that a new process was started for it.
func (s *Slot) Launched() {
	s.gpu.mu.Lock()
	defer s.gpu.mu.Unlock()
	s.gpu.history = s.gpu.history.Launched()
	s.gpu.absolve()
}

// Told takes a line that the process wrote to its standard error. Lines that
// tell of a dead or poisoned process condemn it.
func (s *Slot) Told(line string) {
	f := gpuerror.ProcessLine(line)
	if f.Verdict == gpuerror.Leave {
		return
	}
	switch poison := (&poisonError{f}); s.gpu.told(f) {
	case gpuerror.Relaunch, gpuerror.Rerun:
		if f.Raises() && s.Running() != "" {
			s.doom(poison)
			return
		}
		s.Condemn(poison)
	case gpuerror.GiveUp:
		s.GiveUp(poison)
	}
}

// doom condemns the process when the node at work has had its time to raise.
func (s *Slot) doom(poison error) {
	s.gpu.mu.Lock()
	defer s.gpu.mu.Unlock()
	if s.gpu.doomed == nil { // each thread of a kernel has its line
		s.gpu.doomed = &doom{poison, time.AfterFunc(raiseNotice, func() { s.execute() })}
	}
}

// execute condemns a doomed process now. It tells whether there was one.
func (s *Slot) execute() bool {
	s.gpu.mu.Lock()
	doomed := s.gpu.absolve()
	s.gpu.mu.Unlock()
	if doomed != nil {
		s.Condemn(doomed.poison)
	}
	return doomed != nil
}

// absolve returns what was decided and undoes it. The lock is held.
func (g *gpu) absolve() *doom {
	d := g.doomed
	if d != nil {
		d.timer.Stop()
	}
	g.doomed = nil
	return d
}

// poisonError says that the process's GPU context, or the process, is no good
// for any further job.
type poisonError struct{ gpuerror.Finding }

func (e *poisonError) Error() string {
	return fmt.Sprintf("ComfyUI's process is no good any more: %s (%s)", e.Why, e.Phrase)
}

// gpuProbeLimit bounds the question that makes ComfyUI call CUDA.
const gpuProbeLimit = 5 * time.Second

// judgeGPU looks at what a node raised and does what that asks for. It returns
// the reason why this process must not see another job, nil if it may, and
// whether the job deserves another run.
func (l *life) judgeGPU(err error) (poison error, rerun bool) {
	var node *comfy.NodeFailure
	if !errors.As(err, &node) {
		return nil, false
	}
	f := gpuerror.Exception(node.ExceptionType, node.Message)
	action := l.slot.gpu.raised(f, l.job.ID)
	if action == gpuerror.Probe && l.gpuAnswersBadly() {
		f = f.Confirmed()
		action = l.slot.gpu.raised(f, l.job.ID)
	}
	if action != gpuerror.None {
		l.log.Warn("gpu error", zap.Stringer("verdict", f.Verdict), zap.Stringer("action", action), zap.String("reason", f.Why))
	}
	switch action {
	case gpuerror.FreeMemory:
		ctx, cancel := context.WithTimeout(l.ctx, gpuProbeLimit)
		defer cancel()
		l.note("free GPU memory", l.slot.Comfy.Free(ctx))
	case gpuerror.Relaunch, gpuerror.Rerun:
		return &poisonError{f}, action == gpuerror.Rerun
	case gpuerror.GiveUp:
		l.slot.GiveUp(&poisonError{f})
		return &poisonError{f}, true // on another GPU, if there is one
	}
	return nil, false
}

func (l *life) gpuAnswersBadly() bool {
	ctx, cancel := context.WithTimeout(l.ctx, gpuProbeLimit)
	defer cancel()
	_, err := l.slot.Comfy.Stats(ctx)
	return err != nil && l.ctx.Err() == nil
}

// outOfMemory tells whether a node failed because the GPU's memory was full.
func outOfMemory(e *comfy.NodeFailure) bool {
	return gpuerror.Exception(e.ExceptionType, e.Message).Verdict == gpuerror.Free
}
