package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/event"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// leastReconnect keeps WEBSOCKET_RECONNECT_DELAY_S=0 from making a hot loop of a
// socket that is accepted and cut.
const leastReconnect = 100 * time.Millisecond

// reconnects is the client's number of attempts, for which 0 is the default and
// a negative one means none.
func reconnects(configured int) int {
	if configured == 0 {
		return -1
	}
	return configured
}

// An instance is one ComfyUI with all that belongs to it.
type instance struct {
	name    string
	gate    *health.Gate
	monitor *health.Monitor
	process *supervisor.Supervisor
	client  *comfy.Client
	slot    *worker.Slot

	warmUps []warmUp
	work    *worker.Worker // that does them; set before run

	seen   observer
	log    *zap.Logger
	lines  *zap.Logger // ComfyUI's own
	giveUp chan error  // holds one reason to give it up
}

// surroundings are what all instances of a pod have in common.
type surroundings struct {
	cfg       Config
	environ   []string
	reaper    *supervisor.Reaper
	preflight health.Probe // holds the gates closed until it returns nil
	warmUps   []warmUp
	hurry     <-chan struct{}
	several   bool // there is more than one instance
	seen      observer
	log       *zap.Logger
}

// newInstance wires the instance at a place.
func newInstance(s surroundings, at place) (*instance, error) {
	cfg, log := s.cfg, s.log
	cfg.Comfy.Port = at.port
	argv, err := comfyArgv(cfg)
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	argv = withFlags(argv, at.flags)
	if s.several {
		log = log.With(zap.String("instance", at.name))
	}
	in := &instance{
		name: at.name, gate: new(health.Gate), seen: s.seen,
		log: log, lines: s.log.Named(at.child), giveUp: make(chan error, 1),
		warmUps: s.warmUps,
	}
	in.client = comfy.New(comfy.Config{
		Addr:      net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Comfy.Port)),
		Reconnect: comfy.Reconnect{Attempts: reconnects(cfg.Jobs.SocketAttempts), Delay: max(cfg.Jobs.SocketDelay, leastReconnect)},
		Trace:     in.trace(cfg.Jobs.SocketTrace),
	}, log.Named("comfy"))
	in.monitor = health.NewMonitor(in.monitorConfig(cfg, s.preflight), in.gate, log.Named("health"))
	process := in.processConfig(cfg, s.environ, argv, s.hurry)
	if at.gpu != "" {
		process.Env = append(process.Env, "CUDA_VISIBLE_DEVICES="+at.gpu)
	}
	in.process = supervisor.New(process, s.reaper, s.log.Named("supervisor"))
	in.slot = &worker.Slot{
		Gate: in.gate, Comfy: in.client,
		Restart: in.restart, Condemn: in.monitor.Condemn, GiveUp: in.abandon, Poke: in.monitor.Poke,
		Worked: in.process.Worked, Activity: in.process.Activity, Memory: memoryShare,
		OutputDir: outputDir(cfg, argv), InputDir: inputDir(cfg, argv),
	}
	return in, nil
}

// memoryShare is the share of the container's memory limit that is in use.
func memoryShare() float64 {
	used, limit := supervisor.Memory("/")
	if limit == 0 {
		return 0
	}
	return float64(used) / float64(limit)
}

func (in *instance) monitorConfig(cfg Config, preflight health.Probe) health.Config {
	return health.Config{
		Probe: in.probe,
		Prepare: func(ctx context.Context) error {
			if err := preflight(ctx); err != nil {
				return err
			}
			return in.warm(ctx)
		},
		Activity: func() uint64 { return in.process.Activity() },
		Voice:    func() uint64 { return in.process.Output() + in.client.Heard() },
		Progress: func() uint64 { return in.process.Output() + in.process.Read() },
		Ready: func(boot time.Duration) {
			in.seen.metrics.Booted(in.name, boot)
			in.process.Ready()
			in.slot.Ready()
			in.seen.gate(in.name, nil)
		},
		BootInterval: cfg.Watch.ReadyInterval, BootTries: cfg.Watch.ReadyTries,
		BootLimit: cfg.Watch.BootLimit, BootStall: cfg.Watch.BootStall,
		LiveInterval: cfg.Watch.LiveInterval, LiveFails: cfg.Watch.LiveFailures, LiveSilence: cfg.Watch.LiveSilence,
		LiveLimit: cfg.Watch.LiveLimit,
	}
}

func (in *instance) processConfig(cfg Config, environ, argv []string, hurry <-chan struct{}) supervisor.Config {
	session := filepath.Join(cfg.General.DataDir, in.name+"-session")
	policy := supervisor.DefaultPolicy()
	policy.First, policy.Max = cfg.Watch.Backoff, cfg.Watch.BackoffMax
	policy.Healthy, policy.Boots = cfg.Watch.Healthy, cfg.Watch.Boots
	env := comfyEnv(environ, cfg, session)
	if cfg.Comfy.TCMalloc {
		env = withAllocator(env, "/")
	}
	return supervisor.Config{
		Name: in.name, Path: argv[0], Args: argv[1:], Dir: cfg.Comfy.Home,
		Env:   env,
		Grace: cfg.Watch.Grace, Policy: policy, Hurry: hurry,
		Port: cfg.Comfy.Port, RebootFile: session + ".reboot",
		OOMScoreAdj: oomScoreAdj, Scrub: in.seen.scrub,
		Lines:   func(l supervisor.Line) { in.seen.panics.do("lines", func() { in.line(l) }) },
		Observe: func(t supervisor.Transition) { in.seen.panics.do("transitions", func() { in.observe(t) }) },
		Watch:   in.watch,
	}
}

// run keeps ComfyUI running, until its host turns out to be unfit for it. When it
// returns, nobody waits at the gate any more.
func (in *instance) run(ctx context.Context) error {
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	var judging sync.WaitGroup
	defer judging.Wait()
	defer end(nil)
	judging.Go(func() {
		select {
		case reason := <-in.giveUp:
			end(exitWith(exitGaveUp, fmt.Errorf("the host is at fault: %w", reason)))
		case <-running.Done():
		}
	})
	err := in.process.Run(running)
	if stopped(err) {
		<-running.Done() // a hurried stop is no verdict on ComfyUI: jobs learn of it from the worker
		err = context.Cause(running)
	}
	in.gate.CloseForGood(err)
	var verdict *exitError
	switch {
	case err == nil, stopped(err), errors.As(err, &verdict):
		return err
	case errors.Is(err, supervisor.ErrNotExecutable):
		return exitWith(exitConfig, fmt.Errorf("start ComfyUI: %w", err))
	}
	text := fmt.Errorf("ComfyUI: %w", err)
	if exit := in.process.Status().LastExit; exit != nil {
		text = fmt.Errorf("%w%s", text, lastLines(exit.Tail))
	}
	return exitWith(exitGaveUp, text)
}

// watch is the monitor's, beside one incarnation.
func (in *instance) watch(ctx context.Context) error {
	in.client.Reset()
	in.slot.Launched()
	err := in.seen.panics.call("health", func() error { return in.monitor.Watch(ctx) })
	if errors.Is(err, errPanicked) {
		in.gate.Close(err)
	}
	in.seen.gate(in.name, err)
	return err
}

// probe asks ComfyUI whether it answers. While it boots that may also be
// something else that was there before it.
func (in *instance) probe(ctx context.Context) error {
	faultPoint("probe")
	err := in.client.Alive(ctx)
	if err == nil && !in.gate.Ready() {
		err = in.process.CheckPort()
	}
	return err
}

// restart replaces the process between jobs. No job gets in any more when it
// returns.
func (in *instance) restart(reason string) {
	in.gate.Close(errors.New(reason))
	in.process.Restart(reason)
}

// abandon gives the instance up, because another process would do no better.
func (in *instance) abandon(reason error) {
	select {
	case in.giveUp <- reason:
	default:
	}
}

// line takes a line that ComfyUI wrote.
func (in *instance) line(l supervisor.Line) {
	if l.Stream == "stderr" {
		in.slot.Told(l.Text)
	}
	if l.Cut {
		l.Text += " ... (the line goes on, what is longer than 64 KiB is left out)"
	}
	job := in.slot.Running()
	in.seen.bus.Publish(event.Line{At: l.Time, Instance: in.name, Incarnation: l.Incarnation, Stream: l.Stream, Job: job, Text: in.seen.scrub(l.Text)})
	fields := []zap.Field{zap.String("stream", l.Stream)}
	if job != "" {
		fields = append(fields, zap.String("job", job))
	}
	in.lines.Info(l.Text, fields...)
}

func (in *instance) observe(t supervisor.Transition) {
	in.seen.child(in.name, t, in.process.Status().PID)
}

// trace logs the frames of the event socket, if asked to. Previews are shortened:
// the log has no use for pictures.
func (in *instance) trace(on bool) func(string, []byte) {
	if !on {
		return nil
	}
	log := in.log.Named("websocket")
	return func(direction string, frame []byte) {
		log.Info("frame", zap.String("direction", direction), zap.Int("bytes", len(frame)), zap.ByteString("frame", frame[:min(len(frame), 2000)]))
	}
}

// state is what /debug/state shows of an instance.
type instanceState struct {
	Name        string    `json:"name"`
	State       string    `json:"state"`
	Incarnation int       `json:"incarnation"`
	PID         int       `json:"pid"`
	Started     time.Time `json:"started"`
	Restarts    int       `json:"restarts"`
	LastExit    string    `json:"last_exit,omitempty"`
	LastLines   []string  `json:"last_lines,omitempty"` // of the incarnation that ended with LastExit
	Ready       bool      `json:"ready"`
	Reason      string    `json:"reason,omitempty"`
	Job         string    `json:"job,omitempty"`
}

func (in *instance) state() instanceState {
	s := in.process.Status()
	state := instanceState{
		Name: in.name, State: string(s.State), Incarnation: s.Incarnation, PID: s.PID,
		Started: s.Started, Restarts: s.Restarts, Ready: in.gate.Err() == nil, Job: in.slot.Running(),
	}
	if err := in.gate.Err(); err != nil {
		state.Reason = err.Error()
	}
	if s.LastExit != nil {
		state.LastExit, state.LastLines = s.LastExit.Error(), s.LastExit.Tail
	}
	return state
}
