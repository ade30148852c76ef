package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/worker"
)

// A warmUp is a file of WARMUP_WORKFLOW.
type warmUp struct {
	file string
	worker.WarmUp
}

// readWarmUps reads the file that path names, or all *.json in that directory,
// in the order of their names. The error names every file that is of no use.
func readWarmUps(path string) ([]warmUp, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("WARMUP_WORKFLOW: %w", err)
	}
	files := []string{path}
	if info.IsDir() {
		// The one error of Glob is that of a bad pattern, which a directory may have in its name.
		if files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil || len(files) == 0 {
			return nil, fmt.Errorf("WARMUP_WORKFLOW: the directory %s holds no *.json", path)
		}
	}
	var all []warmUp
	var faults []error
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err == nil {
			var parsed worker.WarmUp
			if parsed, err = worker.ParseWarmUp(raw); err == nil {
				all = append(all, warmUp{file, parsed})
				continue
			}
			err = fmt.Errorf("%s: %w", file, err)
		}
		faults = append(faults, fmt.Errorf("WARMUP_WORKFLOW: %w", err))
	}
	return all, errors.Join(faults...)
}

// errWarming is why the gate is closed meanwhile.
var errWarming = errors.New("ComfyUI is warming up")

// The pauses between two tries of a warm-up that fails.
const (
	firstWarmUpPause = time.Second
	lastWarmUpPause  = time.Minute
)

// warm runs the warm-ups on a ComfyUI that has just become ready. One that is
// refused, or of which a node raises, is tried again, ever more slowly, with the
// gate closed: another process would do no better. The error is the end of the
// process, or a reason to replace it.
func (in *instance) warm(ctx context.Context) error {
	for _, u := range in.warmUps {
		in.gate.Close(errWarming)
		if err := in.warmWith(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (in *instance) warmWith(ctx context.Context, u warmUp) error {
	log := in.log.Named("warmup").With(zap.String("file", u.file))
	start, told := time.Now(), ""
	for pause := firstWarmUpPause; ; pause = min(2*pause, lastWarmUpPause) {
		err := in.work.Warm(ctx, in.slot, u.WarmUp)
		switch {
		case err == nil:
			log.Info("warmed up", zap.Duration("elapsed", time.Since(start)))
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, worker.ErrProcess):
			return err
		}
		reason := fmt.Errorf("the warm-up %s fails: %w", u.file, err)
		in.gate.Close(reason)
		if reason.Error() != told {
			told = reason.Error()
			log.Warn("warm-up failed: no job is taken until it succeeds, it is tried again", zap.Error(err))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
