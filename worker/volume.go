package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// errStalled means that a volume does not answer.
var errStalled = errors.New("the volume does not answer")

// A volume is where a slot's ComfyUI keeps its files. It may be a network's and
// stall, and a call that touches it then stands still for as long as it pleases.
// One call at a time is let in, so no more than one goroutine is ever stuck. The
// zero value is ready for use.
type volume struct {
	once sync.Once
	turn chan struct{} // holds the one call that is inside

	mu   sync.Mutex
	kept map[string]bool // ids of attempts whose files are in use
}

// touch returns what f returns, or errStalled when f, or the call before it,
// takes longer than limit. It ends with ctx, whose cause it then returns. An f
// that is not waited for goes on by itself. What f panics with, touch does.
func touch[T any](ctx context.Context, v *volume, limit time.Duration, f func() (T, error)) (T, error) {
	v.once.Do(func() { v.turn = make(chan struct{}, 1) })
	var none T
	timer := time.NewTimer(limit)
	defer timer.Stop()
	stalled := fmt.Errorf("%w within %v", errStalled, limit)
	select {
	case v.turn <- struct{}{}:
	case <-timer.C:
		return none, stalled
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	done := make(chan touched[T], 1)
	go func() {
		defer func() { <-v.turn }()
		done <- caught(f)
	}()
	select {
	case r := <-done:
		return r.result()
	case <-timer.C:
		return none, stalled
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

const (
	findLimit = 5 * time.Minute // for finding a job's outputs
	findAgain = 250 * time.Millisecond
)

// find collects what an attempt made.
func (l *life) find(ctx context.Context, a *attempt, made *comfy.Outcome) (out *job.Output, err error) {
	err = withDescriptors(ctx, func() (err error) {
		keeper := l.newKeeper()
		out, err = touch(ctx, &a.slot.volume, findLimit, func() (*job.Output, error) { return l.collect(ctx, a, made, keeper) })
		if err == nil {
			l.atEnd(keeper.close)
		}
		return err
	})
	return out, err
}

// withDescriptors calls f, and again while that does not succeed because file
// descriptors have run out: the work is done, and would be lost for nothing. It gives
// up after findLimit, or when ctx ends, whose cause it then returns.
func withDescriptors(ctx context.Context, f func() error) error {
	again := time.NewTicker(findAgain)
	defer again.Stop()
	for begun := time.Now(); ; {
		err := f()
		if !noDescriptors(err) || time.Since(begun) > findLimit {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keep marks the files of an attempt as in use.
func (v *volume) keep(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.kept == nil {
		v.kept = make(map[string]bool)
	}
	v.kept[id] = true
}

// release takes that mark away.
func (v *volume) release(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.kept, id)
}

// inUse tells whether begin is the beginning of the id of an attempt whose files
// are in use.
func (v *volume) inUse(begin string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id := range v.kept {
		if strings.HasPrefix(id, begin) {
			return true
		}
	}
	return false
}
