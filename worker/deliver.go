package worker

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// parallelPuts is how many files of a job are stored at the same time.
const parallelPuts = 4

// resultGuard is kept free below the source's limit, for what stands around the
// output in the body.
const resultGuard = 64 << 10

// store puts the job's files where the result will point to, all of them or
// none: a result never lists fewer files than the job made.
func (l *life) store(ctx context.Context) error {
	place := l.w.cfg.Store
	if l.bucket != nil {
		place = l.bucket
	}
	if place == nil {
		return l.checkSize()
	}
	ctx, cancel := l.whileWanted(ctx)
	defer cancel()
	files := l.output.Files
	fates := make([]error, len(files))
	var g errgroup.Group
	g.SetLimit(parallelPuts)
	for i := range files {
		g.Go(func() error {
			stored := files[i]
			panicked := contained(l.log, "a file was stored", func() {
				fates[i] = withDescriptors(ctx, func() (err error) {
					stored, err = place.Put(ctx, l.job.ID, i, files[i])
					return err
				})
			})
			switch {
			case panicked != nil:
				fates[i] = panicked
			case fates[i] == nil:
				files[i] = stored
			}
			return nil
		})
	}
	g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, err := range fates {
		if err != nil {
			return &storeError{files, fates, err}
		}
	}
	return nil
}

// whileWanted is ctx, ended when the job is canceled or out of time. At the
// shutdown deliveries have some time of their own, most of it for files.
func (l *life) whileWanted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() {
		if cause := context.Cause(l.ctx); cause != errShutdown {
			cancel(cause)
		}
	})
	stopLate := context.AfterFunc(l.w.uploads, func() { cancel(errShutdown) })
	return ctx, func() { stop(); stopLate(); cancel(nil) }
}

// checkSize fails a result that the source would refuse, before it is sent.
func (l *life) checkSize() error {
	limit := l.w.cfg.ResultLimit
	if limit == 0 {
		return nil
	}
	body, err := payload.Output(l.output, l.timings)
	if err != nil {
		return err
	}
	if size := body.Size() + resultGuard; size > limit {
		return &tooLargeError{body.Size(), limit, l.output.Files}
	}
	return nil
}

// cleanUp removes what the job left in ComfyUI. It runs when the result has
// arrived, or never will. What cannot be removed is harmless: no other job
// uses these names. When ctx ends there is no time left to ask ComfyUI.
func (l *life) cleanUp(ctx context.Context) {
	if l.slot == nil {
		return
	}
	asking, cancel := context.WithTimeout(ctx, cleanUpLimit)
	defer cancel()
	removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpLimit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(cleanUpLate, cancel) })()
	for _, a := range l.tried {
		err := withDescriptors(removing, func() error {
			_, err := touch(removing, &a.slot.volume, cleanUpLimit, func() (struct{}, error) { return struct{}{}, a.slot.remove(a) })
			return err
		})
		l.note("remove files", err)
		a.slot.volume.release(a.id)
		if a.slot.Gate.Ready() { // a new incarnation has no history of the last
			l.note("forget prompt", a.slot.Comfy.Forget(asking, a.id))
		}
	}
}

const (
	cleanUpLimit = 2 * time.Second
	cleanUpLate  = 300 * time.Millisecond // when the time of the shutdown is over
)

// remove removes the files of an attempt.
func (s *Slot) remove(a *attempt) error {
	err := removeLocal(s.OutputDir, a.folder)
	for _, ref := range a.inputs {
		err = errors.Join(err, removeLocal(s.InputDir, path.Clean(ref)))
	}
	return err
}

// startClean removes outputs that stand where those of an attempt will be. They
// are of an earlier comfyvisor on the same disk, which was killed in its attempt
// at the same job and began to count with the same number.
func (l *life) startClean(ctx context.Context, a *attempt) {
	_, err := touch(ctx, &a.slot.volume, cleanUpLimit, func() (struct{}, error) {
		return struct{}{}, removeLocal(a.slot.OutputDir, a.folder)
	})
	l.note("remove earlier outputs", err)
}

func (l *life) note(what string, err error) {
	if err != nil {
		l.log.Debug("leftovers of a job stay", zap.String("step", what), zap.Error(err))
	}
}

// storeError tells the fate of each file when not all could be stored.
type storeError struct {
	files []job.File
	fates []error
	first error
}

func (e *storeError) Error() string {
	failed := 0
	for _, err := range e.fates {
		if err != nil {
			failed++
		}
	}
	return fmt.Sprintf("%d of %d files could not be stored: %v", failed, len(e.files), e.first)
}

func (e *storeError) Unwrap() error { return e.first }

// retryable tells whether the store may take the files another time. Wrong keys,
// say, are refused for ever.
func (e *storeError) retryable() bool {
	var judged interface{ Retryable() bool }
	return !errors.As(e.first, &judged) || judged.Retryable()
}

// fate is one file in the details of a failed delivery.
type fate struct {
	Filename string `json:"filename"`
	Stored   bool   `json:"stored"`
	Error    string `json:"error,omitempty"`
}

func (e *storeError) details() []fate {
	fates := make([]fate, len(e.files))
	for i, f := range e.files {
		fates[i] = fate{Filename: f.Filename, Stored: e.fates[i] == nil}
		if e.fates[i] != nil {
			fates[i].Error = e.fates[i].Error()
		}
	}
	return fates
}

// tooLargeError says that the source would refuse the result.
type tooLargeError struct {
	size, limit int64
	files       []job.File
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the result would be %s, and the queue takes at most %s (%d files, %s before base64 adds a third)",
		megabytes(e.size), megabytes(e.limit), len(e.files), megabytes(totalSize(e.files)))
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
