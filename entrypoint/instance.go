package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/event"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// oomScoreAdj makes the kernel's out-of-memory killer take ComfyUI rather than
// us, if one of the two has to go.
const oomScoreAdj = 500

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

	seen   observer
	log    *zap.Logger
	lines  *zap.Logger // ComfyUI's own
	giveUp chan error  // holds one reason to end the pod
}

// newInstance wires an instance. Preflight holds the gate closed until it
// returns nil.
func newInstance(cfg Config, environ []string, reaper *supervisor.Reaper, preflight health.Probe,
	hurry <-chan struct{}, seen observer, log *zap.Logger) (*instance, error) {
	argv, err := comfyArgv(cfg)
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	in := &instance{
		name: "comfyui", gate: new(health.Gate), seen: seen,
		log: log, lines: log.Named(childName), giveUp: make(chan error, 1),
	}
	in.client = comfy.New(comfy.Config{
		Addr:      net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Comfy.Port)),
		Reconnect: comfy.Reconnect{Attempts: reconnects(cfg.Jobs.SocketAttempts), Delay: max(cfg.Jobs.SocketDelay, leastReconnect)},
		Trace:     in.trace(cfg.Jobs.SocketTrace),
	}, log.Named("comfy"))
	in.monitor = health.NewMonitor(in.monitorConfig(cfg, preflight), in.gate, log.Named("health"))
	in.process = supervisor.New(in.processConfig(cfg, environ, argv, hurry), reaper, log.Named("supervisor"))
	in.slot = &worker.Slot{
		Gate: in.gate, Comfy: in.client,
		Restart: in.restart, Condemn: in.monitor.Condemn, GiveUp: in.abandon, Poke: in.monitor.Poke,
		Worked: in.process.Worked, Activity: in.process.Activity,
		OutputDir: outputDir(cfg, argv), InputDir: inputDir(cfg, argv),
	}
	return in, nil
}

func (in *instance) monitorConfig(cfg Config, preflight health.Probe) health.Config {
	return health.Config{
		Probe:    in.client.Alive,
		Prepare:  preflight,
		Activity: func() uint64 { return in.process.Activity() },
		Ready: func(time.Duration) {
			in.process.Ready()
			in.seen.gate(nil)
		},
		BootInterval: cfg.Watch.ReadyInterval, BootTries: cfg.Watch.ReadyTries,
		BootLimit: cfg.Watch.BootLimit, BootStall: cfg.Watch.BootStall,
		LiveInterval: cfg.Watch.LiveInterval, LiveFails: cfg.Watch.LiveFailures, LiveSilence: cfg.Watch.LiveSilence,
	}
}

func (in *instance) processConfig(cfg Config, environ, argv []string, hurry <-chan struct{}) supervisor.Config {
	session := filepath.Join(cfg.General.DataDir, "comfyui-session")
	policy := supervisor.DefaultPolicy()
	policy.First, policy.Max = cfg.Watch.Backoff, cfg.Watch.BackoffMax
	policy.Healthy, policy.Boots = cfg.Watch.Healthy, cfg.Watch.Boots
	return supervisor.Config{
		Name: in.name, Path: argv[0], Args: argv[1:], Dir: cfg.Comfy.Home,
		Env:   comfyEnv(environ, cfg, session),
		Grace: cfg.Watch.Grace, Policy: policy, Hurry: hurry,
		RebootFile:  session + ".reboot",
		OOMScoreAdj: oomScoreAdj,
		Lines:       in.line, Watch: in.watch, Observe: in.observe,
	}
}

// run keeps ComfyUI running. When it returns, nobody waits at the gate any more.
func (in *instance) run(ctx context.Context) error {
	err := in.process.Run(ctx)
	in.gate.CloseForGood(err)
	switch {
	case err == nil, stopped(err):
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
	err := in.monitor.Watch(ctx)
	in.seen.gate(err)
	return err
}

// restart replaces the process between jobs. No job gets in any more when it
// returns.
func (in *instance) restart(reason string) {
	in.gate.Close(errors.New(reason))
	in.process.Restart(reason)
}

// abandon ends the pod, because another process would do no better.
func (in *instance) abandon(reason error) {
	select {
	case in.giveUp <- reason:
	default:
	}
}

// verdict returns when the pod has to end because of its host.
func (in *instance) verdict(ctx context.Context) error {
	select {
	case reason := <-in.giveUp:
		return exitWith(exitGaveUp, fmt.Errorf("the host is at fault: %w", reason))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// line takes a line that ComfyUI wrote.
func (in *instance) line(l supervisor.Line) {
	if l.Stream == "stderr" {
		in.slot.Told(l.Text)
	}
	in.seen.bus.Publish(event.Line{At: l.Time, Incarnation: l.Incarnation, Stream: l.Stream, Text: l.Text})
	fields := []zap.Field{zap.String("stream", l.Stream)}
	if job := in.slot.Running(); job != "" {
		fields = append(fields, zap.String("job", job))
	}
	in.lines.Info(l.Text, fields...)
}

func (in *instance) observe(t supervisor.Transition) {
	in.seen.child(t, in.process.Status().PID)
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
		state.LastExit = s.LastExit.Error()
	}
	return state
}
