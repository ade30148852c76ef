package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

var (
	errRefused = fmt.Errorf("GET /prompt: dial tcp 127.0.0.1:8188: %w", syscall.ECONNREFUSED)
	errTimeout = errors.New("GET /prompt: no answer within 5s")
)

// comfy is a process as a monitor sees it, at a point of virtual time.
type comfy struct {
	born     time.Time
	ready    time.Duration            // listens and answers from then on
	stalls   []stall                  // when it answers nothing
	busy     func(time.Duration) bool // whether it shows activity; nil: always
	talks    func(time.Duration) bool // whether it writes or sends; nil: never
	probes   atomic.Int64
	activity atomic.Uint64
	words    atomic.Uint64
}

type stall struct{ from, to time.Duration }

func (c *comfy) probe(ctx context.Context) error {
	c.probes.Add(1)
	age := time.Since(c.born)
	if age < c.ready {
		return errRefused
	}
	for _, s := range c.stalls {
		if age >= s.from && age < s.to {
			<-ctx.Done()
			return errTimeout
		}
	}
	return nil
}

func (c *comfy) signs() uint64 {
	if c.busy == nil || c.busy(time.Since(c.born)) {
		c.activity.Add(1)
	}
	return c.activity.Load()
}

func (c *comfy) voice() uint64 {
	if c.talks != nil && c.talks(time.Since(c.born)) {
		c.words.Add(1)
	}
	return c.words.Load()
}

func silent(time.Duration) bool { return false }

// watch runs a monitor beside c and returns its gate, its result, and the
// function that lets the process exit.
func watch(t *testing.T, c *comfy, cfg Config) (g *Gate, m *Monitor, result <-chan error, exit context.CancelCauseFunc) {
	t.Helper()
	c.born = time.Now()
	cfg.Probe, cfg.Activity, cfg.Voice = c.probe, c.signs, c.voice
	g = new(Gate)
	m = NewMonitor(cfg, g, zap.NewNop())
	ctx, exit := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Watch(ctx) }()
	return g, m, done, exit
}

func TestGateOpensAtTheFirstGoodProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &comfy{ready: 7123 * time.Millisecond}
		var boot time.Duration
		g, _, result, exit := watch(t, c, Config{Ready: func(d time.Duration) { boot = d }})
		_, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave()
		synctest.Wait()
		if late := time.Since(c.born) - c.ready; late < 0 || late > 5*time.Millisecond {
			t.Errorf("opened %v after ComfyUI was ready, want at most 5ms", late)
		}
		if boot < c.ready {
			t.Errorf("boot = %v, want at least %v", boot, c.ready)
		}
		exit(errKilled)
		if err := <-result; err != errKilled {
			t.Errorf("Watch = %v, want %v", err, errKilled)
		}
		if err := g.Err(); err != errKilled {
			t.Errorf("gate closed by %v, want %v", err, errKilled)
		}
	})
}

func TestNoWorkBeforeWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		warm := errors.New("model missing")
		c := &comfy{}
		g, _, result, exit := watch(t, c, Config{Prepare: func(context.Context) error {
			time.Sleep(time.Minute)
			return warm
		}})
		defer exit(nil)
		time.Sleep(30 * time.Second)
		if err := g.Err(); err != ErrBooting {
			t.Errorf("during warm-up the gate says %v, want %v", err, ErrBooting)
		}
		if err := <-result; !errors.Is(err, warm) {
			t.Errorf("Watch = %v, want %v", err, warm)
		}
	})
}

// A process that is condemned while it warms up, by what it writes for instance,
// is given up at once.
func TestVerdictEndsTheWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poisoned := errors.New("poisoned")
		warming := make(chan struct{})
		_, m, result, exit := watch(t, &comfy{}, Config{Prepare: func(ctx context.Context) error {
			close(warming)
			<-ctx.Done()
			return context.Cause(ctx)
		}})
		defer exit(nil)
		m.Condemn(errors.New("too early")) // it boots
		<-warming
		m.Condemn(poisoned)
		if err := <-result; !errors.Is(err, poisoned) {
			t.Errorf("Watch = %v, want %v", err, poisoned)
		}
	})
}

// A boot that shows no sign of life is given up after the stall, one that is busy and
// says nothing after the limit, and one that talks for ever after six times that.
func TestFault_L2_SilentBootIsGivenUp(t *testing.T) {
	tests := []struct {
		name string
		busy func(time.Duration) bool
		cfg  Config
		want time.Duration
		text string
	}{
		{"silent from the start", silent, Config{BootStall: 18 * time.Second}, 18 * time.Second, "no sign of life for 18s"},
		{"busy for a while, then silent", func(age time.Duration) bool { return age < 24*time.Second }, Config{BootStall: 18 * time.Second}, 42 * time.Second, "no sign of life"},
		{"busy for ever", nil, Config{BootStall: 18 * time.Second, BootLimit: time.Minute}, time.Minute, "BOOT_LIMIT"},
		{"talks for ever", nil, Config{BootStall: 18 * time.Second, BootLimit: 10 * time.Second, Progress: new(endless).voice}, time.Minute, "BOOT_LIMIT"},
		{"tries used up", nil, Config{BootTries: 100}, 99 * 50 * time.Millisecond, "COMFY_API_AVAILABLE_MAX_RETRIES"},
		{"tries used up at the interval given", nil, Config{BootTries: 100, BootInterval: time.Second}, 99 * time.Second, "100 probes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &comfy{ready: time.Hour, busy: tt.busy}
				g, _, result, exit := watch(t, c, tt.cfg)
				defer exit(nil)
				err := <-result
				if err == nil || !strings.Contains(err.Error(), tt.text) || !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("Watch = %v, want %q and the last probe in it", err, tt.text)
				}
				if took := time.Since(c.born); took < tt.want-bootLook || took > tt.want+time.Second {
					t.Errorf("given up after %v, want %v", took, tt.want)
				}
				if g.Err() != err {
					t.Errorf("gate says %v, want %v", g.Err(), err)
				}
			})
		})
	}
}

// endless says something new whenever it is asked.
type endless struct{ words uint64 }

func (e *endless) voice() uint64 { e.words++; return e.words }

// A boot of three quarters of an hour that writes a line, or reads from the disk, now and then is waited for; the twin that does neither is given up after BOOT_LIMIT, busy as it is.
func TestFault_L1_BootThatGetsOnIsWaitedFor(t *testing.T) {
	for _, getsOn := range []bool{true, false} {
		t.Run(fmt.Sprint("gets on: ", getsOn), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &comfy{ready: 45 * time.Minute, talks: func(age time.Duration) bool {
					return getsOn && age%(9*time.Minute) < 10*time.Second
				}}
				g, _, result, exit := watch(t, c, Config{BootInterval: time.Second, BootTries: 1 << 30}) // few probes
				defer exit(nil)
				ready := make(chan error, 1)
				go func() {
					_, leave, err := g.Enter(t.Context())
					if err == nil {
						leave()
					}
					ready <- err
				}()
				select {
				case err := <-ready:
					if err != nil || !getsOn {
						t.Errorf("ready after %v (%v)", time.Since(c.born), err)
					}
				case err := <-result:
					if getsOn || time.Since(c.born) > 11*time.Minute || !strings.Contains(err.Error(), "BOOT_LIMIT") {
						t.Errorf("given up after %v: %v", time.Since(c.born), err)
					}
				}
			})
		})
	}
}

// Every second probe of a ready ComfyUI goes wrong for an hour, and nothing else shows that it lives: the gate stays open all along, since only so many in a row and a long silence close it, and only a new start opens it again. The twin that believes a single probe closes it.
func TestFault_L7_ProbesThatFlapDoNotCloseTheGate(t *testing.T) {
	var bad []stall
	for from := 3 * time.Second; from < time.Hour; from += 15 * time.Second { // probes come each 5 s, and wait 5 s in vain
		bad = append(bad, stall{from, from + 5*time.Second})
	}
	for _, believed := range []int{6, 1} {
		t.Run(fmt.Sprint("failures ", believed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := Config{LiveFails: believed}
				if believed == 1 {
					cfg.LiveSilence = time.Nanosecond
				}
				c := &comfy{stalls: bad, busy: silent}
				g, _, result, exit := watch(t, c, cfg)
				inside, leave, err := g.Enter(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer leave()
				select {
				case <-time.After(time.Hour):
					if believed == 1 {
						t.Error("no probe went wrong: the test proves nothing")
					}
				case <-inside.Done():
					if believed != 1 {
						t.Errorf("the gate closed after %v: %v", time.Since(c.born), context.Cause(inside))
					}
				}
				exit(errKilled)
				<-result
			})
		})
	}
}

// ComfyUI answers nothing for a minute and more while it loads a model, and is
// left alone as long as it shows any activity; with a short silence limit and
// no look at activity the same loads would kill it.
func TestFault_L3_ModelLoadIsNoHang(t *testing.T) {
	loads := func(t *testing.T, activity bool) (kills int) {
		rnd := rand.New(rand.NewPCG(3, 4))
		for range 1000 {
			synctest.Test(t, func(t *testing.T) {
				length := 10*time.Second + time.Duration(rnd.Int64N(int64(100*time.Second)))
				from := time.Minute + time.Duration(rnd.Int64N(int64(10*time.Second)))
				c := &comfy{stalls: []stall{{from, from + length}}}
				cfg := Config{}
				if !activity {
					c.busy = silent
					cfg.LiveFails, cfg.LiveSilence = 3, time.Nanosecond
				}
				_, _, result, exit := watch(t, c, cfg)
				time.Sleep(5 * time.Minute)
				select {
				case <-result:
					kills++
				default:
				}
				exit(errKilled)
			})
		}
		return kills
	}
	if kills := loads(t, true); kills != 0 {
		t.Errorf("%d of 1000 model loads were taken for a hang", kills)
	}
	if kills := loads(t, false); kills == 0 {
		t.Error("without the defence not one load was killed: the test proves nothing")
	}
}

func TestHangWithoutAnySignOfLifeIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &comfy{stalls: []stall{{time.Minute, time.Hour}}, busy: silent}
		g, _, result, exit := watch(t, c, Config{})
		defer exit(nil)
		err := <-result
		if !errors.Is(err, ErrHung) {
			t.Fatalf("Watch = %v, want %v", err, ErrHung)
		}
		if took := time.Since(c.born) - time.Minute; took < 2*time.Minute-10*time.Second || took > 2*time.Minute+10*time.Second {
			t.Errorf("found after %v, want about 2m", took)
		}
		if g.Err() != err {
			t.Errorf("gate says %v, want %v", g.Err(), err)
		}
	})
}

// When the whole container was frozen, the time of the freeze is no silence of
// ComfyUI: it is probed again before anybody judges.
func TestFault_P11_FreezeOfTheContainerIsNoVerdict(t *testing.T) {
	s := &Silence{activity: func() uint64 { return 0 }, last: time.Now().Add(-10 * time.Minute)}
	if got := s.Tick(10 * time.Second); got > 10*time.Second {
		t.Errorf("after a freeze of 10m the silence is %v, want at most 10s", got)
	}
}

// A Manager reboot replaces the program in the same process: the gate closes,
// and opens again when the new program answers.
func TestFault_C18_ExecInPlaceClosesAndReopensTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &comfy{}
		boots := 0
		g, m, _, exit := watch(t, c, Config{Ready: func(time.Duration) { boots++ }})
		defer exit(nil)
		inside, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		synctest.Wait()
		c.ready = time.Since(c.born) + 8*time.Second // nothing listens until then
		m.Poke()
		<-inside.Done()
		if cause := context.Cause(inside); !errors.Is(cause, ErrRebooting) {
			t.Errorf("cause = %v, want %v", cause, ErrRebooting)
		}
		_, leave, err = g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave()
		synctest.Wait()
		if boots != 2 {
			t.Errorf("%d boots seen, want 2", boots)
		}
	})
}

// A socket closes before the notice of its process's exit arrives: the gate
// tells of the exit, not of the socket.
func TestRefusedConnectionWaitsForTheNoticeOfTheExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &comfy{}
		g, m, result, exit := watch(t, c, Config{})
		_, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave()
		synctest.Wait()
		c.ready = time.Hour
		m.Poke()
		time.AfterFunc(50*time.Millisecond, func() { exit(errKilled) })
		if err := <-result; err != errKilled {
			t.Errorf("Watch = %v, want %v", err, errKilled)
		}
	})
}

func TestCondemnedProcessIsGivenUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		poisoned := errors.New("CUDA error: an illegal memory access was encountered")
		c := &comfy{ready: time.Second}
		g, m, result, exit := watch(t, c, Config{})
		defer exit(nil)
		m.Condemn(poisoned) // still booting: nobody has used it, so the verdict is on another one
		_, leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		synctest.Wait()
		m.Condemn(poisoned)
		if err := <-result; err != poisoned {
			t.Errorf("Watch = %v, want %v", err, poisoned)
		}
		if g.Err() != poisoned {
			t.Errorf("gate says %v, want %v", g.Err(), poisoned)
		}
	})
}

// A monitor that does not come round, for whatever reason, tells by how much.
func TestFault_L9_LateMonitorIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var calls atomic.Int64
		m := NewMonitor(Config{Probe: func(context.Context) error {
			if calls.Add(1) == 3 {
				<-stuck // whatever the context says
			}
			return nil
		}}, new(Gate), zap.NewNop())
		ctx, exit := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- m.Watch(ctx) }()
		time.Sleep(9 * time.Second)
		if late := m.Late(); late != 0 {
			t.Errorf("late by %v while all is well", late)
		}
		time.Sleep(time.Minute)
		if late := m.Late(); late < 30*time.Second {
			t.Errorf("late by %v with a probe that has been stuck for 59s", late)
		}
		close(stuck)
		exit(errKilled)
		<-done
		if late := m.Late(); late != 0 {
			t.Errorf("late by %v after the end", late)
		}
	})
}

func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inFlight, most atomic.Int64
		m := NewMonitor(Config{Probe: func(ctx context.Context) error {
			most.Store(max(most.Load(), inFlight.Add(1)))
			defer inFlight.Add(-1)
			<-ctx.Done()
			return errTimeout
		}, BootStall: time.Minute}, new(Gate), zap.NewNop())
		err := m.Watch(t.Context())
		if err == nil || most.Load() != 1 {
			t.Errorf("Watch = %v with %d probes at once, want an error and 1", err, most.Load())
		}
	})
}
