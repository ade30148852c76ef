package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// A process that uses the processor for ever and neither answers nor writes nor
// sends anything is given up after a quarter of an hour; one that does any of it
// is left alone, and so is one that says nothing for a while only.
func TestFault_L4_BusyButMuteForEverIsGivenUp(t *testing.T) {
	forEver := []stall{{time.Minute, 24 * time.Hour}}
	tests := []struct {
		name  string
		c     *comfy
		limit time.Duration
		want  time.Duration // when it is given up; 0: never
	}{
		{"says nothing", &comfy{stalls: forEver}, 0, 16 * time.Minute},
		{"says nothing, with a longer limit", &comfy{stalls: forEver}, time.Hour, 61 * time.Minute},
		{"says something every ten minutes", &comfy{stalls: forEver, talks: func(age time.Duration) bool {
			return age%(10*time.Minute) < 10*time.Second
		}}, 0, 0},
		{"answers every ten minutes", &comfy{stalls: pauses(10*time.Minute, 24*time.Hour)}, 0, 0},
		{"the twin: without the limit it is left alone", &comfy{stalls: forEver}, 48 * time.Hour, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _, result, exit := watch(t, tt.c, Config{LiveLimit: tt.limit})
				defer exit(nil)
				select {
				case err := <-result:
					after := time.Since(tt.c.born)
					if tt.want == 0 || after < tt.want-10*time.Second || after > tt.want+10*time.Second {
						t.Errorf("given up after %v, want %v (0: never)", after, tt.want)
					}
					if !errors.Is(err, ErrHung) || !strings.Contains(err.Error(), "LIVENESS_LIMIT") || g.Err() != err {
						t.Errorf("Watch = %v, gate says %v", err, g.Err())
					}
				case <-time.After(23 * time.Hour):
					if tt.want != 0 {
						t.Errorf("not given up, want so after %v", tt.want)
					}
				}
			})
		})
	}
}

// pauses are stalls with ten seconds between any two.
func pauses(each, until time.Duration) (all []stall) {
	for from := time.Minute; from < until; from += each + 10*time.Second {
		all = append(all, stall{from, from + each})
	}
	return all
}

// A process that hangs while it warms up is given up as at any other time.
func TestHangDuringTheWarmUpIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &comfy{stalls: []stall{{time.Minute, time.Hour}}, busy: silent}
		g, _, result, exit := watch(t, c, Config{Prepare: func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}})
		defer exit(nil)
		err := <-result
		if !errors.Is(err, ErrHung) || g.Err() != err {
			t.Errorf("Watch = %v, gate says %v, want %v", err, g.Err(), ErrHung)
		}
		if took := time.Since(c.born); took > 4*time.Minute {
			t.Errorf("found %v after the start, want about 3m", took)
		}
	})
}

// A panic of a probe beside the warm-up is Watch's own, for whoever contains it.
func TestPanicOfAProbeBesideTheWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		m := NewMonitor(Config{
			Probe: func(context.Context) error {
				if probes++; probes > 1 {
					panic("planted")
				}
				return nil
			},
			Prepare: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
		}, new(Gate), zap.NewNop())
		defer func() {
			if p := recover(); !strings.Contains(fmt.Sprint(p), "planted") {
				t.Errorf("recovered %v", p)
			}
		}()
		t.Errorf("Watch = %v, want a panic", m.Watch(t.Context()))
	})
}
