package simulation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	oklog "github.com/oklog/run"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// Times of the pods. Those that are only waited for are shorter than the
// program's own, so that a run has less to do.
const (
	stopBudget  = 9 * time.Second
	hurriedStop = 600 * time.Millisecond
	stall       = 100 * time.Second
	silence     = 20 * time.Second
	liveFails   = 3 // probes
	bootStall   = 8 * time.Second
	lease       = 45 * time.Second
	hold        = 20 * time.Second
)

// A pod is the program, wired as package main does it, with peers in memory.
type pod struct {
	r         *run
	name      string
	host      *host
	instances []*instance
	source    *source
	work      *worker.Worker
	s3        *http.Transport

	stopping chan struct{} // closed by SIGTERM
	hurry    chan struct{}
	stopOnce sync.Once
	rushOnce sync.Once

	mu      sync.Mutex
	started time.Time
	stopped time.Time // when it was told to, zero if it was not
	killed  time.Time
	rushed  time.Time // when it was to stop at once
	ended   time.Time
	hangups []time.Time // when polls were closed for which there was no lane any more
	verdict error       // what ended it
	drained error       // what the worker returned
	over    chan struct{}
}

// An instance is one ComfyUI with all that belongs to it.
type instance struct {
	gate     *health.Gate
	monitor  *health.Monitor
	process  *supervisor.Supervisor
	client   *comfy.Client
	slot     *worker.Slot
	comfyui  *comfyui
	giveUp   chan error
	r        *run
	name     string
	ended    error     // what ended it for good
	gateShut time.Time // when its gate was last seen shut, zero while it is open
}

var errStopSignal = errors.New("told to stop")

func newPod(r *run, n int) *pod {
	p := &pod{
		r: r, name: fmt.Sprintf("worker-%d", n), host: newHost(), started: time.Now(),
		stopping: make(chan struct{}), hurry: make(chan struct{}), over: make(chan struct{}),
	}
	for i := range r.plan.setup.instances {
		p.instances = append(p.instances, p.newInstance(i))
	}
	p.source = p.newSource()
	s := r.plan.setup
	var slots []*worker.Slot
	for _, in := range p.instances {
		slots = append(slots, in.slot)
	}
	cfg := worker.Config{
		Source: p.source, Slots: slots, Prefetch: s.prefetch, Refresh: s.refresh, Unchecked: !s.checked,
		ResultLimit: 10e6, Stall: stall, Drain: stopBudget * 2 / 3, Deliver: stopBudget / 6, Hurry: p.hurry,
		Observe: func(e worker.Event) { r.saw(p, e) }, Wear: worker.Wear{Jobs: s.wear},
	}
	if s.s3 {
		cfg.Store = p.newStore()
	}
	r.weaken.worker(&cfg)
	p.work = worker.New(cfg, r.log.Named(p.name))
	return p
}

func (p *pod) newInstance(i int) *instance {
	r := p.r
	in := &instance{
		gate: new(health.Gate), giveUp: make(chan error, 1), r: r, name: fmt.Sprintf("%s/%d", p.name, i),
		comfyui: &comfyui{r: r, dir: filepath.Join(r.dir, p.name, fmt.Sprint(i)), link: r.newLink(true)},
	}
	in.comfyui.in = in
	log := r.log.Named(in.name)
	client := comfy.Config{Addr: address.String(), Dial: in.comfyui.link.dialer(p.host), Reconnect: comfy.Reconnect{Attempts: 5, Delay: 3 * time.Second}}
	r.weaken.client(&client)
	in.client = comfy.New(client, log)
	watch := health.Config{
		Probe: in.client.Alive, Activity: in.comfyui.life.Load,
		Ready:        func(time.Duration) { in.process.Ready(); in.slot.Ready(); r.opened(in) },
		LiveInterval: 5 * time.Second, LiveFails: liveFails, LiveSilence: silence, BootLimit: 2 * bootStall, BootStall: bootStall,
	}
	r.weaken.health(&watch)
	in.monitor = health.NewMonitor(watch, in.gate, log)
	in.process = supervisor.New(supervisor.Config{
		Path: "comfyui", Hurry: p.hurry, Launch: in.comfyui.launch, Watch: in.watch,
		Observe: func(t supervisor.Transition) { r.moved(in, t) },
	}, nil, log)
	in.slot = &worker.Slot{
		Gate: in.gate, Comfy: in.client, Restart: in.restart, Condemn: in.monitor.Condemn, GiveUp: in.abandon,
		Poke: in.monitor.Poke, Worked: in.process.Worked, Activity: in.comfyui.life.Load,
		OutputDir: filepath.Join(in.comfyui.dir, "output"), InputDir: filepath.Join(in.comfyui.dir, "input"),
	}
	r.weaken.slot(in.slot)
	in.comfyui.told = in.slot.Told
	return in
}

func (in *instance) watch(ctx context.Context) error {
	in.client.Reset()
	in.slot.Launched()
	err := in.monitor.Watch(ctx)
	in.r.shut(in)
	return err
}

func (in *instance) restart(reason string) {
	in.gate.Close(errors.New(reason))
	in.process.Restart(reason)
}

func (in *instance) abandon(reason error) {
	select {
	case in.giveUp <- reason:
	default:
	}
}

var errHost = errors.New("the host is at fault")

// run keeps ComfyUI running until ctx ends or its host is given up.
func (in *instance) run(ctx context.Context) error {
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	in.r.wg.Go(func() {
		select {
		case reason := <-in.giveUp:
			end(fmt.Errorf("%w: %w", errHost, reason))
		case <-running.Done():
		}
	})
	err := in.process.Run(running)
	if errors.Is(err, context.Canceled) {
		<-running.Done()
		err = context.Cause(running)
	}
	in.gate.CloseForGood(err)
	in.ended = err
	return err
}

// runAll returns when ctx has ended, or the last ComfyUI was given up.
func (p *pod) runAll(ctx context.Context) (err error) {
	ends := make(chan error)
	for _, in := range p.instances {
		p.r.wg.Go(func() { ends <- in.run(ctx) })
	}
	for range p.instances {
		err = <-ends
	}
	return err
}

// run is the whole life of the pod.
func (p *pod) run() {
	defer close(p.over)
	var g oklog.Group
	part := func(f func(context.Context) error) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		g.Add(func() error { defer close(done); return f(ctx) }, func(error) { cancel(); <-done })
	}
	var drained error
	part(p.awaitStop)
	part(func(ctx context.Context) error { drained = p.work.Run(ctx); return drained })
	part(p.source.Run)
	part(p.runAll)
	err := g.Run()
	for _, in := range p.instances {
		in.client.Close()
	}
	if p.s3 != nil {
		p.s3.CloseIdleConnections()
	}
	p.host.die() // with its process
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verdict, p.drained, p.ended = err, drained, time.Now()
}

// awaitStop returns when the pod is told to stop. From the stop on its time is
// bounded, whatever the reason.
func (p *pod) awaitStop(ctx context.Context) error {
	var err error
	select {
	case <-p.stopping:
		err = errStopSignal
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.r.wg.Go(func() {
		timer := time.NewTimer(stopBudget - hurriedStop)
		defer timer.Stop()
		select {
		case <-timer.C:
			p.rush()
		case <-p.over:
		}
	})
	return err
}

func (p *pod) rush() {
	p.rushOnce.Do(func() {
		p.mu.Lock()
		p.rushed = time.Now()
		p.mu.Unlock()
		close(p.hurry)
	})
}

// stop is SIGTERM.
func (p *pod) stop() {
	p.stopOnce.Do(func() {
		p.mu.Lock()
		p.stopped = time.Now()
		p.mu.Unlock()
		close(p.stopping)
	})
}

// lastRead is how long a poll is read on that is no longer wanted.
const lastRead = 2 * time.Second

// hungUp is told that a poll was closed, which was withdrawn a while ago. Only one
// that was read on for as long as it has to be may cost a job that is on its way.
func (p *pod) hungUp(withdrawn time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(withdrawn) >= lastRead || !p.rushed.IsZero() {
		p.hangups = append(p.hangups, time.Now())
	}
}

// kill is the end of the whole pod at once: nothing that it does from here on is
// seen by anybody.
func (p *pod) kill() {
	p.mu.Lock()
	p.killed = time.Now()
	p.mu.Unlock()
	p.host.die()
	p.rush()
	p.stopOnce.Do(func() { close(p.stopping) })
}

func (p *pod) isOver() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}
