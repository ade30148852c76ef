package main

import (
	"path/filepath"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/convert"
	"github.com/comfyvisor/comfyvisor/internal/secret"
	"github.com/comfyvisor/comfyvisor/internal/status"
	"github.com/comfyvisor/comfyvisor/worker"
)

// newWorker returns the worker of a pod whose ComfyUIs and source are there.
func (p *pod) newWorker(store worker.Store, file string, scrub *secret.Scrubber, metrics *status.Metrics) *worker.Worker {
	cfg := p.cfg
	return worker.New(worker.Config{
		Source: containedSource{p.jobs, p.panics}, Store: store, SpoolDir: filepath.Join(cfg.General.DataDir, "outputs"),
		Fetch: newFetch(cfg), Bucket: jobBuckets(cfg, func() { metrics.Retried("s3") }, p.log),
		Slots: p.comfys.slots(), Previews: previews(cfg), Prefetch: cfg.Jobs.Prefetch > 0, Refresh: refresh(cfg, file),
		Format:    convert.Format{Name: cfg.Jobs.OutputFormat, Quality: cfg.Jobs.OutputQuality, MaxEdge: cfg.Jobs.OutputMaxEdge},
		OrgAPIKey: cfg.Comfy.OrgAPIKey.Reveal(), ResultLimit: resultLimit(cfg, file),
		Wear:       worker.Wear{Jobs: cfg.Watch.AfterJobs, Memory: cfg.Watch.AtMemory, Uptime: cfg.Watch.AfterUptime},
		Fitness:    fitness(cfg, file),
		JobTimeout: cfg.Jobs.Timeout, MinFree: int64(cfg.Jobs.MinFree) * 1e6,
		Unchecked: cfg.Jobs.WorkflowCheck == "off",
		// Of a budget of 9 s a job may use 6, and its delivery 1.5 more; the rest
		// is for ComfyUI.
		Drain: cfg.Watch.StopBudget * 2 / 3, Deliver: cfg.Watch.StopBudget / 6, Hurry: p.hurry,
		Guard:   func(value string) func() { return scrub.Add(value) },
		Scrub:   scrub.String,
		Observe: func(e worker.Event) { p.panics.do("observer", func() { p.seen.job(e) }) },
		Watched: func() bool { return p.watch != nil && p.watch.Watched() },
	}, p.log.Named("worker"))
}

// previews is the least time between two previews of a job, 0 for none.
func previews(cfg Config) time.Duration {
	if !cfg.Jobs.Previews {
		return 0
	}
	return cfg.Jobs.ProgressInterval
}

// unfitJobs is how many jobs in a row may fail by the pod's own fault.
const unfitJobs = 6

// fitness says when a pod that cannot do jobs gives up, so that another one takes
// its place. Only a queue has others.
func fitness(cfg Config, file string) worker.Fitness {
	if file != "" || cfg.servesAPI() || cfg.Watch.Unfit == 0 {
		return worker.Fitness{}
	}
	return worker.Fitness{Patience: cfg.Watch.Unfit, Last: unfitJobs}
}

// refresh says what REFRESH_WORKER does: the queue stops the pod, the local API
// lives on with a fresh ComfyUI. A single job is the last one in any case.
func refresh(cfg Config, file string) worker.Refresh {
	switch {
	case file != "":
		return worker.RefreshPod
	case !cfg.General.Refresh:
		return worker.RefreshNone
	case cfg.servesAPI():
		return worker.RefreshProcess
	}
	return worker.RefreshPod
}

// resultLimit is in bytes. The local API has none.
func resultLimit(cfg Config, file string) int64 {
	switch {
	case cfg.General.Local || file != "":
		return 0
	case cfg.balanced():
		return balancerLimit
	}
	return int64(cfg.Jobs.ResultLimit) * 1e6
}
