package health

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errKilled = errors.New("killed by SIGKILL after 3m12s")

func TestEnterWaitsUntilTheGateOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		start := time.Now()
		time.AfterFunc(time.Minute, g.Open)
		ctx, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("entered after %v, want 1m", waited)
		}
		if ctx.Err() != nil {
			t.Errorf("the context inside has ended: %v", ctx.Err())
		}
	})
}

func TestCloseEndsEveryContextWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		g.Open()
		var inside []context.Context
		for range 3 {
			ctx, leave, err := g.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
			inside = append(inside, ctx)
		}
		time.AfterFunc(2*time.Minute, func() { g.Close(errKilled) })
		for _, ctx := range inside {
			<-ctx.Done()
			if got := context.Cause(ctx); got != errKilled {
				t.Errorf("cause = %v, want %v", got, errKilled)
			}
		}
		if got := g.Err(); got != errKilled {
			t.Errorf("Err() = %v, want %v", got, errKilled)
		}
	})
}

func TestReasonSurvivesUntilTheNextOpening(t *testing.T) {
	var g Gate
	if err := g.Err(); err != ErrNotStarted {
		t.Errorf("a new gate: %v, want %v", err, ErrNotStarted)
	}
	g.Close(errKilled)
	later := errors.New("probe refused")
	g.Close(later)
	if err := g.Err(); err != later {
		t.Errorf("after a second closing: %v, want %v", err, later)
	}
	g.Open()
	if err := g.Err(); err != nil {
		t.Errorf("open: %v, want nil", err)
	}
}

func TestEnterTellsWhyItWaitedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		g.Close(errKilled)
		stop := errors.New("told to stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stop) })
		_, _, err := g.Enter(ctx)
		if !errors.Is(err, stop) || !errors.Is(err, errKilled) {
			t.Errorf("err = %v, want both %q and %q in it", err, stop, errKilled)
		}
	})
}

func TestGateClosedForGoodSendsEverybodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		loop := errors.New("5 starts in a row failed")
		time.AfterFunc(time.Second, func() { g.CloseForGood(loop) })
		_, _, err := g.Enter(t.Context())
		if !errors.Is(err, ErrGivenUp) || !errors.Is(err, loop) {
			t.Errorf("err = %v, want %v and its reason", err, ErrGivenUp)
		}
		g.Open()
		g.Close(errKilled)
		if err := g.Err(); err != loop {
			t.Errorf("Err() = %v, want %v", err, loop)
		}
	})
}

// Who has left learns nothing of a later closing, and leaves nothing behind.
func TestLeaveForgetsTheContext(t *testing.T) {
	var g Gate
	g.Open()
	ctx, leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leave()
	leave()
	g.Close(errKilled)
	if got := context.Cause(ctx); got != context.Canceled {
		t.Errorf("cause = %v, want %v", got, context.Canceled)
	}
	if len(g.inside) != 0 {
		t.Errorf("%d contexts kept", len(g.inside))
	}
}

func TestChangedWakesAtEachChange(t *testing.T) {
	var g Gate
	c := g.Changed()
	g.Open()
	<-c
	c = g.Changed()
	g.Open() // no change
	select {
	case <-c:
		t.Error("woken though the gate was open already")
	default:
	}
	g.Close(errKilled)
	<-c
}

func TestGateUnderManyHands(t *testing.T) {
	var g Gate
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				ctx, leave, err := g.Enter(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				_ = ctx.Err()
				leave()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for i := 0; ; i++ {
		g.Open()
		select {
		case <-done:
			return
		default:
			g.Close(errKilled)
		}
	}
}

// A gate that is held lets nobody in and sends nobody away.
func TestHoldKeepsOutAndLetsBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the disk is full")
		var g Gate
		g.Hold(full)
		if err := g.Err(); !errors.Is(err, ErrNotStarted) {
			t.Errorf("a closed gate that is held tells %v, want why it is closed", err)
		}
		g.Open()
		if err := g.Err(); err != full || !g.Ready() {
			t.Errorf("an open gate that is held tells %v, ready %v", err, g.Ready())
		}
		g.Release()
		inside, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		g.Hold(full)
		if inside.Err() != nil {
			t.Errorf("who was inside is sent away: %v", context.Cause(inside))
		}
		start := time.Now()
		time.AfterFunc(time.Minute, g.Release)
		_, leave, err = g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("entered after %v, want 1m", waited)
		}
		g.Close(errKilled)
		if context.Cause(inside) != errKilled {
			t.Errorf("the context inside ended with %v", context.Cause(inside))
		}
	})
}
