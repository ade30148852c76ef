package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/oklog/run"
	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/console"
	"github.com/comfyvisor/comfyvisor/internal/event"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/secret"
	"github.com/comfyvisor/comfyvisor/internal/status"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// A pod is all parts of the program, wired.
type pod struct {
	cfg    Config
	log    *zap.Logger
	flight *preflight
	reaper *supervisor.Reaper
	comfys instances
	ssh    *sshServer
	wishes *restarts
	jobs   source
	work   *worker.Worker
	page   *status.Server
	seen   observer
	watch  *console.Console // nil where no local API shows it
	hurry  chan struct{}    // closed when the stop must be immediate
	panics *containment
}

// newPod wires the parts. Nothing runs yet, but all ports of ours are taken.
func newPod(cfg Config, environ []string, file string, scrub *secret.Scrubber, metrics *status.Metrics, log *zap.Logger) (*pod, error) {
	if err := os.MkdirAll(cfg.General.DataDir, 0o700); err != nil {
		log.Warn("DATA_DIR cannot be written to: results are kept in memory", zap.Error(err))
	}
	store, err := newStore(cfg, func() { metrics.Retried("s3") }, log)
	if err != nil {
		return nil, err
	}
	if cfg.Comfy.ModelPath, err = modelPath(cfg, log); err != nil {
		return nil, err
	}
	seen := observer{bus: new(event.Bus), metrics: metrics, scrub: scrub.String, panics: newContainment(log)}
	go seen.panics.do("bucket", func() { checkBucket(store, log.Named("s3")) })
	if cfg.General.VolumeDebug {
		go seen.panics.do("volume", func() { reportVolume(cfg, log.Named("volume")) }) // one that stalls must not hold up the start
	}
	p := &pod{cfg: cfg, log: log, hurry: make(chan struct{}), panics: seen.panics, reaper: supervisor.NewReaper(log.Named("reaper")), seen: seen}
	if cfg.General.Local && file == "" {
		p.watch = console.New(console.Config{Bus: seen.bus, Version: version})
	}
	if p.flight, err = newPreflight(cfg, environ, log); err != nil {
		return nil, err
	}
	if err := setManagerMode(cfg); err != nil {
		log.Warn("ComfyUI-Manager may use the network and so delay the start of ComfyUI", zap.Error(err))
	}
	p.ssh = newSSH(cfg, environ, p.reaper, log.Named("ssh"))
	warmUps, err := readWarmUps(cfg.Comfy.WarmUp)
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	p.comfys, err = newInstances(surroundings{
		cfg: cfg, environ: environ, reaper: p.reaper, preflight: p.flight.passed,
		warmUps: warmUps, hurry: p.hurry, seen: seen, log: log,
	})
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	p.wishes = &restarts{comfys: p.comfys, log: log.Named("restarts")}
	inside := podSide{
		ready: p.comfys.ready, restart: p.wishes.ask, hurry: p.hurry, panics: p.panics,
		retried: func() { metrics.Retried("queue") },
	}
	if p.watch != nil {
		inside.page = p.watch.Handler()
	}
	if p.jobs, err = newSource(cfg, file, inside, log); err != nil {
		return nil, err
	}
	if own, is := p.jobs.(interface{ Queued() int }); is { // the local API, behind a load balancer or not
		metrics.Queue(own.Queued)
	}
	p.work = p.newWorker(store, file, scrub, metrics)
	p.comfys.warmBy(p.work)
	p.page, err = status.Listen(cfg.Log.StatusAddr, status.Sources{
		Loops: p.loops,
		Ready: p.ready,
		State: p.state, Metrics: seen.metrics, Profile: cfg.Log.Profile,
	}, log.Named("status"))
	if err != nil {
		return nil, exitWith(exitConfig, fmt.Errorf("STATUS_ADDR: %w", err))
	}
	return p, nil
}

// run runs the parts until one of them ends. The error is nil after a stop that
// left nothing behind.
func (p *pod) run(taken <-chan os.Signal) error {
	defer p.comfys.close()
	sig := &signals{
		taken: taken, hurry: p.hurry, budget: p.cfg.Watch.StopBudget, log: p.log.Named("signals"),
		dump: func() { p.log.Info("state", zap.Any("state", p.state())) },
		late: func() { os.Exit(exitAbandoned) },
	}
	p.log.Info("comfyvisor starts", zap.String("version", version), zap.Int("pid", os.Getpid()))

	var drained error
	work := func(ctx context.Context) error {
		drained = p.work.Run(ctx)
		return drained
	}
	// Actors stop one at a time, in the order in which they are added.
	var g run.Group
	ended := sig.actor(&g) // ends the group on SIGTERM or SIGINT
	defer ended()
	part := func(name string, f func(context.Context) error) { actor(&g, p.panics.restarts(name, f)) }
	part("restarts", p.wishes.run) // none begins any more
	part("worker", work)           // no new jobs; those at hand are finished and reported
	if p.watch != nil {
		part("console", p.watch.Run) // pages are told that this is the end
	}
	part("source", p.jobs.Run)      // the heartbeat, or the local API, goes on until then
	part("preflight", p.flight.run) // ends the pod whose host cannot do the work
	part("comfyui", p.comfys.run)   // ComfyUI is stopped
	part("decoy", p.decoy)          // somebody else is killed when memory runs out
	part("gauges", p.sample)        // what is in use is no longer of interest
	part("ssh", p.ssh.run)          // sessions see the shutdown of ComfyUI
	part("status", p.page.Run)      // the page shows the shutdown to its end
	part("reaper", p.reaper.Run)    // and the last orphans are reaped
	actor(&g, p.panics.run)         // ends the pod of which a part panics again and again
	err := g.Run()
	p.reportUnhealthy(err)
	return p.outcome(err, drained)
}

// actor adds f to the group. Interrupting it cancels f's context and waits for
// f to return, which is what makes actors stop in order.
func actor(g *run.Group, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	g.Add(func() error {
		defer close(done)
		return f(ctx)
	}, func(error) {
		cancel()
		<-done
	})
}

// outcome decides what ended the program. Ended is why the first actor
// returned, drained what the worker returned.
func (p *pod) outcome(ended, drained error) error {
	one, isOne := p.jobs.(*oneJob)
	switch {
	case errors.Is(ended, worker.ErrRefresh):
		if isOne && one.failed {
			return exitWith(exitJobFailed, errJobFailed)
		}
		return nil
	case !stopped(ended) && !errors.Is(ended, worker.ErrAbandoned):
		return ended
	case errors.Is(drained, worker.ErrAbandoned):
		return exitWith(exitAbandoned, drained)
	}
	return nil
}

// reportUnhealthy tells the queue that this pod is of no use, so that it is
// replaced and not only restarted.
func (p *pod) reportUnhealthy(err error) {
	client, queue := p.jobs.(*runpod.Client)
	check := map[int]string{exitNoGPU: "gpu", exitGaveUp: "comfyui"}[exitCode(err)]
	if !queue || check == "" {
		return
	}
	if errors.Is(err, worker.ErrUnfit) {
		check = "pod"
	}
	reason, _, _ := strings.Cut(err.Error(), "\n")
	ctx, cancel := context.WithTimeout(context.Background(), unhealthyLimit)
	defer cancel()
	if err := client.Unhealthy(ctx, check, reason); err != nil {
		p.log.Warn("the queue was not told that this pod is unhealthy", zap.Error(err))
	}
}

// unhealthyLimit bounds that message; RunPod's own SDK gives it 2 s.
const unhealthyLimit = 2 * time.Second

// ready returns why jobs would not be done, nil if they would: ComfyUI is not
// there, or the queue does not give any.
func (p *pod) ready() error {
	if err := p.comfys.ready(); err != nil {
		return err
	}
	if client, queue := p.jobs.(*runpod.Client); queue {
		return client.Err()
	}
	return nil
}

// loops are what has to come round again and again, for /healthz.
func (p *pod) loops() []status.Loop {
	return p.comfys.loops()
}

// state is what /debug/state shows.
func (p *pod) state() any {
	return struct {
		Version   string          `json:"version"`
		Jobs      int             `json:"jobs"`
		Instances []instanceState `json:"instances"`
	}{version, p.work.Active(), p.comfys.states()}
}
