package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
)

// attempts is how often a job is begun: a second time after an infrastructure
// death, and never more. The second time it has ComfyUI for itself, so that a
// job which only waited behind the one that kills ComfyUI is not lost with it
// again.
const attempts = 2

// outputRoot is the folder in ComfyUI's output directory that holds those of
// all attempts.
const outputRoot = "comfyvisor"

// namePrefixBytes is what an attempt puts before the name of an uploaded file.
const namePrefixBytes = 13

// An attempt is one run of a job. Everything that it leaves in ComfyUI bears a
// name made from its prompt id.
type attempt struct {
	n      int
	id     string            // the prompt id
	slot   *Slot             // that runs it
	folder string            // of its outputs, below ComfyUI's output directory
	prefix string            // of its inputs' names
	inputs map[string]string // uploaded files: the job's name to ComfyUI's
	before []string          // outputs that were there when the prompt was submitted again
}

func newAttempt(jobID string, n int) *attempt {
	id := comfy.PromptID(jobID, n)
	return &attempt{
		n: n, id: id,
		folder: outputRoot + "/" + id,
		prefix: id[:namePrefixBytes-1] + "_",
		inputs: make(map[string]string),
	}
}

// try runs the job once. The error is nil when the outputs are known.
func (l *life) try(in input, n int) error {
	inside, leave, err := l.admit(n)
	if err != nil {
		return err
	}
	defer leave()
	defer func() {
		if l.slot.execute() {
			<-inside.Done() // no other job gets in before the gate has closed
		}
	}()
	a := newAttempt(l.job.ID, l.w.namesakes.count(l.job.ID, l.job.Handed))
	a.n, a.slot = n, l.slot
	l.tried = append(l.tried, a)
	l.slot.volume.keep(a.id)

	if l.poisoned {
		l.slot.gpu.suspect(l.job.ID)
	}
	defer func() { l.poisoned = a.slot.gpu.poisoned(l.job.ID) }()
	err = l.tryInside(inside, in, a)
	l.slot.gpu.ended(l.job.ID)
	switch {
	case err == nil:
		l.slot.gpu.succeeded()
		l.slot.Worked()
		return nil
	case l.ctx.Err() != nil: // told to stop: say so, not what the stop broke
		l.stopPrompt(a)
		return context.Cause(l.ctx)
	}
	err = l.sentence(inside, err)
	if isServerFault(err) { // then nobody knows whether the prompt has ended
		l.stopPrompt(a)
	}
	return err
}

func (l *life) tryInside(inside context.Context, in input, a *attempt) error {
	start := time.Now()
	l.enter(PhasePrepare, a.n)
	if err := l.check(inside, in.workflow); err != nil {
		return err
	}
	if err := l.makeRoom(inside, len(in.files)); err != nil {
		return err
	}
	l.startClean(inside, a)
	if err := l.upload(inside, in.files, a); err != nil {
		return err
	}
	graph, err := in.workflow.forAttempt(a.folder, a.inputs)
	if err != nil {
		return fmt.Errorf("encode workflow: %w", err)
	}
	l.timings.Prepare += time.Since(start)

	l.enter(PhaseExecute, a.n)
	outcome, err := l.run(inside, in, a, graph)
	if err != nil {
		return l.explain(inside, in.workflow, err)
	}
	l.output, err = l.find(inside, a, outcome)
	if err == nil && len(l.output.Files) == 0 {
		l.output.Note = nothingSaved(in.workflow, l.slot.known(), outcome)
	}
	return err
}

// upload puts the job's files where the workflow finds them.
func (l *life) upload(ctx context.Context, files []inputFile, a *attempt) error {
	for _, f := range files {
		name := a.prefix + f.name
		a.inputs[f.name] = name // to be removed even if the answer is lost
		ref, err := l.slot.Comfy.Upload(ctx, comfy.Upload{Name: name, Content: f.content.Open, Size: f.content.Size})
		if err != nil {
			return &uploadError{f.name, err}
		}
		a.inputs[f.name] = ref
	}
	return nil
}

// sentence decides what an error inside the gate was: the job's own, or the end
// of the ComfyUI that ran it. The death of a process is seen by its sockets
// before the kernel has told of it, so a broken connection waits a moment for
// the gate's word.
func (l *life) sentence(inside context.Context, err error) error {
	if poison, rerun := l.judgeGPU(err); poison != nil {
		l.slot.Condemn(poison)
		<-inside.Done() // no other job gets in before the gate has closed
		if rerun && l.ctx.Err() == nil {
			return &lostError{context.Cause(inside)}
		}
		return err
	}
	if inside.Err() == nil && isConnection(err) {
		l.slot.Poke()
		timer := time.NewTimer(deathNotice)
		defer timer.Stop()
		select {
		case <-inside.Done():
		case <-timer.C:
		}
	}
	switch {
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	case inside.Err() != nil:
		return &lostError{context.Cause(inside)}
	case errors.Is(err, comfy.ErrLost), errors.Is(err, comfy.ErrHistoryMissing):
		return &lostError{err}
	}
	return err
}

// deathNotice is how long a broken connection waits for the news that the
// process has ended. That takes milliseconds.
const deathNotice = 2 * time.Second

// stopPrompt takes the attempt's prompt from the GPU. Where ComfyUI does not
// let go of it in time it is restarted, so that the next job finds it free: unless
// it is at work on another job's, which must not pay for that. See spares.
func (l *life) stopPrompt(a *attempt) {
	limit := cancelLimit
	if errors.Is(context.Cause(l.ctx), errShutdown) {
		limit = cancelAtShutdown // ComfyUI is about to be stopped anyway
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), limit)
	defer cancel()
	defer context.AfterFunc(l.w.uploads, cancel)() // a shutdown leaves no time for more than telling the result
	err := l.slot.Comfy.Cancel(ctx, a.id)
	switch {
	case err == nil || limit == cancelAtShutdown || l.w.uploads.Err() != nil:
	case a.spares(err):
		l.w.deliveries.Go(func() {
			_ = contained(l.log, "a prompt was canceled", func() { a.stopLater(l.w.uploads) }) // it goes on then
		})
	default:
		a.condemn(err)
	}
}

// stopLater goes on where stopPrompt could not wait, until ctx or the process
// ends. When ComfyUI is not at work on another job any more, or for too long,
// there is nobody else to spare.
func (a *attempt) stopLater(ctx context.Context) {
	inside, leave, err := a.slot.Gate.Enter(ctx)
	if err != nil {
		return
	}
	defer leave()
	for begun := time.Now(); ; {
		ctx, cancel := context.WithTimeout(inside, cancelLimit)
		err := a.slot.Comfy.Cancel(ctx, a.id)
		cancel()
		switch {
		case err == nil, inside.Err() != nil:
			return
		case !a.spares(err), time.Since(begun) > stopLaterLimit:
			a.condemn(err)
			return
		}
	}
}

// spares tells whether ComfyUI is left alone for now, after the attempt's prompt was
// not seen to stop because of err. It is if it may be at work on another job: where it
// has not said that it still runs this one, one that waits may have begun unseen, and
// be why nothing is answered. And it is if it had no time to let the prompt go.
func (a *attempt) spares(err error) bool {
	switch {
	case errors.Is(err, comfy.ErrStillRuns):
		return a.slot.gpu.atWork() != ""
	case errors.Is(err, comfy.ErrUnsure):
		return true
	}
	return a.slot.Running() != ""
}

func (a *attempt) condemn(err error) {
	a.slot.Condemn(fmt.Errorf("ComfyUI did not stop a prompt within %v (%w)", cancelLimit, err))
}

const (
	cancelLimit      = 5 * time.Second
	cancelAtShutdown = 300 * time.Millisecond
	stopLaterLimit   = time.Minute
)
