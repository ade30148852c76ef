package health

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var errNoDisk = errors.New("no disk")

func passes(context.Context) error { return nil }

func fails(err error) Probe { return func(context.Context) error { return err } }

func TestPreflightPasses(t *testing.T) {
	if err := Preflight(t.Context(), zap.NewNop(), Check{Name: "gpu", Run: passes, Fatal: true}); err != nil {
		t.Error(err)
	}
	if err := Preflight(t.Context(), zap.NewNop()); err != nil {
		t.Errorf("without checks: %v", err)
	}
}

func TestPreflightReportsEveryFaultAtOnce(t *testing.T) {
	err := Preflight(t.Context(), zap.NewNop(),
		Check{Name: "gpu", Run: fails(ErrNoGPU), Fatal: true},
		Check{Name: "network", Run: passes, Fatal: true},
		Check{Name: "volume", Run: fails(errNoDisk), Fatal: true},
	)
	if !errors.Is(err, ErrNoGPU) || !errors.Is(err, errNoDisk) {
		t.Errorf("error %v does not hold both faults", err)
	}
	if got, want := err.Error(), "gpu: no usable GPU\nvolume: no disk"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
}

func TestPreflightOnlyWarnsOfWhatIsNotFatal(t *testing.T) {
	core, logs := observer.New(zapcore.WarnLevel)
	if err := Preflight(t.Context(), zap.New(core), Check{Name: "volume", Run: fails(errNoDisk)}); err != nil {
		t.Errorf("got %v, want none", err)
	}
	if got := logs.All(); len(got) != 1 || got[0].ContextMap()["check"] != "volume" || got[0].ContextMap()["error"] != "no disk" {
		t.Errorf("warnings are %v, want one of the volume", got)
	}
}

func TestPreflightRunsChecksAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := Check{Name: "slow", Fatal: true, Run: func(ctx context.Context) error {
			select {
			case <-time.After(1500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		start := time.Now()
		if err := Preflight(t.Context(), zap.NewNop(), slow, slow, slow); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("three checks of 1.5s took %v", took)
		}
	})
}

// A driver that hangs in the kernel does not hold the start back: after 2 s the
// check has failed, and the others' answers are not lost.
func TestFault_L8_HungDriverCountsAsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		woken := make(chan struct{})
		defer close(woken)
		start := time.Now()
		err := Preflight(t.Context(), zap.NewNop(),
			Check{Name: "gpu", Fatal: true, Run: func(context.Context) error { <-woken; return nil }},
			Check{Name: "volume", Fatal: true, Run: fails(errNoDisk)},
			Check{Name: "network", Fatal: true, Run: passes},
		)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
		if err == nil || err.Error() != "gpu: no answer within 2s\nvolume: no disk" {
			t.Errorf("got %v", err)
		}
	})
}

func TestPreflightEndsWhenToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		woken := make(chan struct{})
		defer close(woken)
		stop := errors.New("SIGTERM")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stop) })
		start := time.Now()
		err := Preflight(ctx, zap.NewNop(), Check{Name: "gpu", Fatal: true, Run: func(context.Context) error { <-woken; return nil }})
		if err != stop || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want %v after 1s", err, time.Since(start), stop)
		}
	})
}

func TestPreflightGivesChecksAContextThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := Preflight(t.Context(), zap.NewNop(), Check{Name: "volume", Fatal: true, Run: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		if err == nil || !strings.HasPrefix(err.Error(), "volume: ") {
			t.Errorf("got %v, want a fault of the volume", err)
		}
	})
}
