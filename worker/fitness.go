package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/fetch"
)

// ErrUnfit is in the reason for which a slot is given up because jobs fail in it
// that would do well elsewhere.
var ErrUnfit = errors.New("this pod cannot do jobs")

// Fitness says how patient to be with a slot that fails its jobs by no fault of
// theirs. Durations that are 0 take the defaults named here.
type Fitness struct {
	// Look is the time between two looks at a disk that is full; 1 s.
	Look time.Duration
	// Rest is how long a slot gets no job after the third one in a row that
	// failed by its fault; 20 s. It doubles with each further one.
	Rest time.Duration
	// Patience is how long a disk may stay full, and Last how many jobs in a row
	// may fail, before the slot is given up; 0 is for ever.
	Patience time.Duration
	Last     int
}

// strikesFirst is how many jobs in a row have to fail before a slot gets a rest.
const strikesFirst = 3

// rest is how long a slot gets no job after so many failures in a row by its own
// fault. When enough is true it is to be given up.
func (f Fitness) rest(strikes int) (d time.Duration, enough bool) {
	switch {
	case f.Last > 0 && strikes >= f.Last:
		return 0, true
	case strikes < strikesFirst:
		return 0, false
	}
	return f.Rest << min(strikes-strikesFirst, 3), false
}

// fitness is what the ends of jobs told of a slot.
type fitness struct {
	mu      sync.Mutex
	strikes int  // jobs in a row that failed by its fault
	resting bool // a lane sees to it
}

// ended notes how a job's execution ended, and returns how many have failed in a
// row if this one did: by the slot's fault. A job that ComfyUI executed, whatever came
// of it, proves that the slot can do jobs; one that never came so far says nothing.
func (f *fitness) ended(err error) (strikes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var node *comfy.NodeFailure
	switch {
	case slotIsAtFault(err):
		f.strikes++
		return f.strikes
	case err == nil, errors.As(err, &node):
		f.strikes = 0
	}
	return 0
}

// begin makes the caller the one who sees to the slot, unless somebody does.
func (f *fitness) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.resting
	f.resting = true
	return !was
}

func (f *fitness) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resting = false
}

// slotIsAtFault tells whether a job failed for want of something that the pod has
// to have: room, a volume that answers, a ComfyUI that can be reached and takes
// files. The death of ComfyUI is not among them: it may well be the job's doing,
// and the supervisor counts those.
func slotIsAtFault(err error) bool {
	var full *fullError
	var node *comfy.NodeFailure
	var upload *uploadError
	var answer *comfy.HTTPError
	var download *fetch.Error
	switch {
	case err == nil, isLost(err), errors.As(err, &download):
		return false
	case errors.As(err, &node):
		return diskWasFull(node)
	case errors.As(err, &full), errors.Is(err, errStalled), isConnection(err), noDescriptors(err):
		return true
	case errors.As(err, &upload) && errors.As(err, &answer):
		return answer.Status >= http.StatusInternalServerError
	}
	for _, ours := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, fs.ErrPermission} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}

// heal returns when the slot may have another job after one that ended with
// err. If it failed by the slot's fault, and the disk is full or jobs have failed
// that way before, it lets nobody in meanwhile: a pod that fails whatever it takes
// would else empty the queue. One that does not recover is given up.
func (w *Worker) heal(ctx context.Context, s *Slot, err error) {
	strikes := s.fitness.ended(err)
	if strikes == 0 {
		return
	}
	rest, enough := w.cfg.Fitness.rest(strikes)
	short := w.shortage(ctx, s)
	if rest == 0 && !enough && short == nil || !s.fitness.begin() {
		return
	}
	defer s.fitness.end()
	reason := fmt.Errorf("%d jobs in a row failed by no fault of theirs, the last one: %w", strikes, err)
	if short != nil {
		reason = short
	}
	s.Gate.Hold(reason)
	if enough {
		w.giveUp(s, reason)
		return
	}
	w.log.Warn("no job is taken for a while", zap.NamedError("reason", reason), zap.Duration("rest", rest))
	wait(rest, ctx.Done(), nil)
	if !w.waitForRoom(ctx, s, short) || ctx.Err() != nil {
		return
	}
	s.Gate.Release()
	w.log.Info("jobs are taken again")
}

// waitForRoom waits until there is room for a job's files. It returns false if
// the slot was given up, or ctx ended, before.
func (w *Worker) waitForRoom(ctx context.Context, s *Slot, short error) bool {
	for begun := time.Now(); short != nil; short = w.shortage(ctx, s) {
		if p := w.cfg.Fitness.Patience; p > 0 && time.Since(begun) >= p {
			w.giveUp(s, short)
			return false
		}
		wait(w.cfg.Fitness.Look, ctx.Done(), nil)
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

// giveUp leaves the gate held: the slot's end may take a moment.
func (w *Worker) giveUp(s *Slot, reason error) {
	w.log.Error("ComfyUI is given up", zap.NamedError("reason", reason))
	s.GiveUp(fmt.Errorf("%w: %w", ErrUnfit, reason))
}
