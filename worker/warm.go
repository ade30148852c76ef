package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// ErrProcess is in the error of Warm when ComfyUI itself is no good: it died,
// hangs or cannot be talked to.
var ErrProcess = errors.New("the process is no good")

// A WarmUp is an input that a ComfyUI works off before its first job, so that
// the models are loaded when that comes. It is made by ParseWarmUp.
type WarmUp struct{ input input }

// ParseWarmUp reads what a file holds: a workflow as ComfyUI's "Export (API)"
// writes it, the input of a job, or a whole job. The error says what is wrong
// with it.
func ParseWarmUp(raw []byte) (WarmUp, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return WarmUp{}, fmt.Errorf("want a workflow, or a job with one, as JSON: %s", jsonFault(err))
	}
	if whole, ok := fields["input"]; ok {
		raw = whole
	} else if _, ok := fields["workflow"]; !ok {
		raw = fmt.Appendf(nil, `{"workflow":%s}`, raw)
	}
	in, failure := parseInput(raw, nil)
	if failure != nil {
		return WarmUp{}, errors.New(failure.Message)
	}
	return WarmUp{in}, nil
}

// Warm runs a warm-up on a slot whose gate is not open yet, and throws away what
// it makes. Ctx ends with the process, or when that was condemned, with the
// reason as its cause. A workflow that ComfyUI refuses, or of which a node
// raises, says nothing against the process: see ErrProcess.
func (w *Worker) Warm(ctx context.Context, s *Slot, u WarmUp) error {
	quiet := &Worker{cfg: w.cfg, log: w.log} // for a job that nobody is told of
	quiet.cfg.Source, quiet.cfg.Observe = nowhere{}, func(Event) {}
	id := "warm-up-" + uuid.NewString()
	l := &life{w: quiet, slot: s, job: job.Job{ID: id}, log: w.log.With(zap.String("job", id)), ctx: ctx}
	in := u.input
	if in.apiKey == "" {
		in.apiKey = w.cfg.OrgAPIKey
	}
	a := newAttempt(id, 1)
	a.slot = s
	l.tried = []*attempt{a}
	s.volume.keep(a.id)
	err := l.tryInside(ctx, in, a)
	s.gpu.ended(id)
	if err != nil && ctx.Err() == nil {
		err = l.sentence(ctx, err)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	l.cleanUp(ctx)
	if err == nil {
		s.gpu.succeeded()
		l.note("forget prompt", s.Comfy.Forget(ctx, a.id))
		return nil
	}
	l.fail(err)
	if isLost(err) || isConnection(err) || ctx.Err() != nil {
		return fmt.Errorf("%w: %s", ErrProcess, l.failure.Message)
	}
	return errors.New(l.failure.Message)
}

// nowhere takes what is told of a job that nobody waits for.
type nowhere struct{ Source }

func (nowhere) Progress(string, job.Progress) {}
