package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// checkLimit bounds each check of a preflight. What has to do with a driver may
// hang in the kernel for ever.
const checkLimit = 2 * time.Second

// A Check is one question about the host, asked before ComfyUI gets any job.
type Check struct {
	// Name says in an error or a log line what was checked.
	Name string
	// Run returns nil if all is well. Else its error says what is missing and
	// what to do about it.
	Run Probe
	// Fatal tells that without it the pod cannot do any job.
	Fatal bool
}

// Preflight runs all checks at the same time and returns the faults of the
// fatal ones, all of them joined; those of the others become warnings in log.
// It returns within about 2 s, even if a check does not: that one counts as
// failed, and its goroutine stays behind until the kernel lets it go. When ctx
// ends first, Preflight returns its cause.
func Preflight(ctx context.Context, log *zap.Logger, checks ...Check) error {
	results := make([]chan error, len(checks))
	limited, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	for i, check := range checks {
		results[i] = make(chan error, 1)
		go func() { results[i] <- check.Run(limited) }()
	}
	var faults []error
	for i, check := range checks {
		err := answer(limited, results[i])
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err == nil:
			log.Debug("check passed", zap.String("check", check.Name))
		case check.Fatal:
			faults = append(faults, fmt.Errorf("%s: %w", check.Name, err))
		default:
			log.Warn("check failed, going on without", zap.String("check", check.Name), zap.Error(err))
		}
	}
	return errors.Join(faults...)
}

// answer waits for a check until ctx ends. An answer that is there in time is
// taken even if it is looked at late.
func answer(ctx context.Context, result <-chan error) error {
	select {
	case err := <-result:
		return err
	default:
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %v", checkLimit)
	}
}
