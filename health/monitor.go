package health

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// The reasons for which a gate is closed while the process runs.
var (
	ErrBooting   = errors.New("ComfyUI is starting")
	ErrRebooting = errors.New("ComfyUI stopped listening and is starting again in the same process")
	// ErrHung is in the error of Watch when a ready process showed no sign of
	// life for too long.
	ErrHung = errors.New("ComfyUI hangs")
)

// A Monitor works one gate, beside one incarnation at a time.
type Monitor struct {
	cfg  Config
	gate *Gate
	log  *zap.Logger

	poked     chan struct{}             // holds one wish for a probe at once
	condemned chan error                // holds one verdict from outside
	preparing atomic.Bool               // cfg.Prepare is at work
	due       atomic.Pointer[time.Time] // of the next turn of the loop, nil while none runs
}

// NewMonitor returns a Monitor that works gate.
func NewMonitor(cfg Config, gate *Gate, log *zap.Logger) *Monitor {
	return &Monitor{
		cfg: cfg.withDefaults(), gate: gate, log: log,
		poked:     make(chan struct{}, 1),
		condemned: make(chan error, 1),
	}
}

// Poke asks for a probe at once, for instance because a connection broke.
func (m *Monitor) Poke() {
	select {
	case m.poked <- struct{}{}:
	default:
	}
}

// Condemn gives the ready process up for a reason that probes do not see, such
// as a poisoned GPU context: the gate closes and Watch returns reason; Prepare's
// context ends. It does nothing while the process boots, so that a verdict on
// one incarnation that comes late does not hit the next.
func (m *Monitor) Condemn(reason error) {
	if !m.gate.Ready() && !m.preparing.Load() {
		return
	}
	select {
	case m.condemned <- reason:
	default:
	}
}

// Late is by how much the monitor has missed its next look at the process, 0
// while it is on time or watches nothing. It waits for nothing.
func (m *Monitor) Late() time.Duration {
	due := m.due.Load()
	if due == nil {
		return 0
	}
	return max(0, time.Since(*due))
}

// expect notes when the loop has to come round at the latest.
func (m *Monitor) expect(within time.Duration) {
	due := time.Now().Add(2 * within)
	m.due.Store(&due)
}

// Watch works the gate until ctx ends, which must be when the incarnation
// does, with the exit as the cause. An error that is not the context's means
// that the process is alive but no good. The gate is closed when it returns.
// One Watch may run at a time.
func (m *Monitor) Watch(ctx context.Context) error {
	select {
	case <-m.condemned: // a verdict on the last incarnation
	default:
	}
	m.gate.Close(ErrBooting)
	defer m.due.Store(nil)
	for {
		err := m.bootAndLive(ctx)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		m.gate.Close(err)
		m.log.Info("gate closed", zap.NamedError("reason", err))
		if !errors.Is(err, ErrRebooting) || ctx.Err() != nil {
			return err
		}
	}
}

func (m *Monitor) bootAndLive(ctx context.Context) error {
	start := time.Now()
	if err := m.boot(ctx); err != nil {
		return err
	}
	if m.cfg.Prepare != nil {
		if err := m.prepare(ctx); err != nil {
			return fmt.Errorf("warm up ComfyUI: %w", err)
		}
	}
	m.gate.Open()
	boot := time.Since(start)
	m.log.Info("gate open", zap.Duration("boot", boot))
	if m.cfg.Ready != nil {
		m.cfg.Ready(boot)
	}
	return m.live(ctx)
}

var errProbePanicked = errors.New("a probe panicked")

// prepare runs cfg.Prepare beside the probes, with a context that also ends when
// those, or a verdict from outside, give the process up.
func (m *Monitor) prepare(ctx context.Context) error {
	inside, end := context.WithCancelCause(ctx)
	defer end(nil)
	m.preparing.Store(true)
	defer m.preparing.Store(false)
	listen, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var listening sync.WaitGroup
	var panicked any
	listening.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				panicked = fmt.Sprintf("%v, while ComfyUI was probed beside its warm-up\n%s", p, debug.Stack())
				end(errProbePanicked)
			}
		}()
		if reason := m.live(listen); listen.Err() == nil {
			end(reason)
		}
	})
	err := m.cfg.Prepare(inside)
	stop()
	listening.Wait()
	if panicked != nil {
		panic(panicked) // to whoever contains Watch
	}
	if inside.Err() != nil {
		return context.Cause(inside)
	}
	return err
}

// bootCeiling is how many times BootLimit a boot may take that gets on: one that
// goes on writing about what it waits for is not waited for without end.
const bootCeiling = 6

// bootLook is the least time between two looks for signs of life; probes come
// more often.
const bootLook = 500 * time.Millisecond

// boot returns nil at the first good probe.
func (m *Monitor) boot(ctx context.Context) error {
	life, gain := NewSilence(m.cfg.Activity), NewSilence(m.cfg.Progress)
	age := NewSilence(func() uint64 { return 0 })
	var silent, stuck, booted time.Duration
	for tries := 1; ; tries++ {
		m.expect(m.cfg.BootInterval + bootProbeTimeout)
		err := m.probe(ctx, bootProbeTimeout)
		if err == nil {
			return nil
		}
		if time.Since(age.last) >= bootLook {
			longest := bootLook + m.cfg.BootInterval + bootProbeTimeout
			silent, stuck, booted = life.Tick(longest), gain.Tick(longest), age.Tick(longest)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case silent >= m.cfg.BootStall:
			return fmt.Errorf("ComfyUI shows no sign of life for %v while starting (last probe: %w)", m.cfg.BootStall, err)
		case stuck >= m.cfg.BootLimit:
			return fmt.Errorf("ComfyUI is not ready after %v, in the last %v of which it wrote no line and read nothing from disk (last probe: %w); raise BOOT_LIMIT if it needs longer",
				booted.Round(time.Second), m.cfg.BootLimit, err)
		case booted >= bootCeiling*m.cfg.BootLimit:
			return fmt.Errorf("ComfyUI is not ready after %v, though it gets on (last probe: %w); raise BOOT_LIMIT, of which this is %d times, if it needs longer",
				bootCeiling*m.cfg.BootLimit, err, bootCeiling)
		case m.cfg.BootTries > 0 && tries >= m.cfg.BootTries:
			return fmt.Errorf("ComfyUI is not ready after %d probes (last probe: %w); raise COMFY_API_AVAILABLE_MAX_RETRIES or set it to 0", tries, err)
		}
		if err := m.pause(ctx, m.bootInterval(err)); err != nil {
			return err
		}
	}
}

func (m *Monitor) bootInterval(err error) time.Duration {
	if errors.Is(err, syscall.ECONNREFUSED) && m.cfg.BootTries == 0 {
		return min(refusedInterval, m.cfg.BootInterval)
	}
	return m.cfg.BootInterval
}

// live returns when the process is no good any more.
func (m *Monitor) live(ctx context.Context) error {
	life, voice := NewSilence(m.cfg.Activity), NewSilence(m.cfg.Voice)
	fails := 0
	for {
		m.expect(m.cfg.LiveInterval + liveProbeTimeout)
		if err := m.pause(ctx, m.cfg.LiveInterval); err != nil {
			return err
		}
		err := m.probe(ctx, liveProbeTimeout)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			fails = 0
			life.Reset()
			voice.Reset()
			continue
		case errors.Is(err, syscall.ECONNREFUSED):
			return m.refused(ctx, err)
		}
		longest := m.cfg.LiveInterval + liveProbeTimeout
		silent, mute := life.Tick(longest), voice.Tick(longest)
		fails++
		m.log.Debug("probe failed", zap.Error(err), zap.Int("fails", fails), zap.Duration("silent", silent), zap.Duration("mute", mute))
		switch {
		case fails < m.cfg.LiveFails:
		case silent >= m.cfg.LiveSilence:
			return fmt.Errorf("%w: %d probes in a row failed and it showed no sign of life for %v (last probe: %w)",
				ErrHung, fails, silent.Round(time.Second), err)
		case mute >= m.cfg.LiveLimit:
			return fmt.Errorf("%w: %d probes in a row failed and it neither answered nor wrote anything for %v, though it is busy (last probe: %w); raise LIVENESS_LIMIT if a node needs longer",
				ErrHung, fails, mute.Round(time.Second), err)
		}
	}
}

// refused decides what it means that a ready process listens no more: it has
// ended, of which the notice is on its way, or it has replaced its program.
func (m *Monitor) refused(ctx context.Context, err error) error {
	timer := time.NewTimer(exitNotice)
	defer timer.Stop()
	select {
	case <-timer.C:
		return fmt.Errorf("%w (%v)", ErrRebooting, err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// exitNotice is how long the notice of an exit may take after the last socket
// was closed; it takes milliseconds, unless a core is dumped.
const exitNotice = 500 * time.Millisecond

func (m *Monitor) probe(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return m.cfg.Probe(ctx)
}

// pause waits for d, or for a poke. It returns an error when the incarnation
// has ended or was condemned.
func (m *Monitor) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.poked:
	case reason := <-m.condemned:
		return reason
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
