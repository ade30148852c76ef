package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/health"
)

// preflight looks whether the host can do the work, beside ComfyUI's own start
// and not before it: the gate waits for both.
type preflight struct {
	checks []health.Check
	log    *zap.Logger
	good   chan struct{} // closed when all checks are passed
}

func newPreflight(cfg Config, environ []string, log *zap.Logger) (*preflight, error) {
	argv, err := comfyArgv(cfg)
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	p := &preflight{log: log.Named("preflight"), good: make(chan struct{})}
	if gpuWanted(cfg, argv) {
		gpu := health.GPU{Visible: lookup(environ, "NVIDIA_VISIBLE_DEVICES")}
		p.checks = append(p.checks, gpu.Check(p.log))
	}
	return p, nil
}

// run ends the pod if a check is not passed.
func (p *preflight) run(ctx context.Context) error {
	if err := health.Preflight(ctx, p.log, p.checks...); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return exitWith(exitNoGPU, fmt.Errorf("preflight: %w", err))
	}
	close(p.good)
	<-ctx.Done()
	return ctx.Err()
}

// passed waits until all checks are passed.
func (p *preflight) passed(ctx context.Context) error {
	select {
	case <-p.good:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
