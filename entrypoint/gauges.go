package main

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/event"
	"github.com/comfyvisor/comfyvisor/supervisor"
)

// sampleEvery is the time between two samples of what is in use, where a console shows
// them, and sampleSeldom where they are only in the metrics: a sample reads the table of
// processes.
const (
	sampleEvery  = 5 * time.Second
	sampleSeldom = 15 * time.Second
)

// settleFor is how long after its start, and after a ComfyUI has become ready and told
// of its nodes, the program gives back the memory that this has needed.
const settleFor = 2 * time.Second

// statsLimit bounds the question what a ComfyUI uses of its GPU, so that one
// which is busy delays nobody's sample.
const statsLimit = 2 * time.Second

// sample publishes what is in use, again and again, until ctx ends: also when a
// ComfyUI has become ready, which can be asked for its GPU from then on.
func (p *pod) sample(ctx context.Context) error {
	every := sampleEvery
	if p.watch == nil {
		every = sampleSeldom
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	settled := time.AfterFunc(settleFor, debug.FreeOSMemory)
	defer settled.Stop()
	gates := p.seen.bus.SubscribeTo(1, func(e event.Event) bool { g, is := e.(event.Gate); return is && g.Open })
	defer gates.Cancel()
	for {
		p.seen.gauges(p.comfys.usage(ctx))
		select {
		case <-ticker.C:
		case <-gates.Events():
			settled.Reset(settleFor)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// usage samples the container and every ComfyUI.
func (all instances) usage(ctx context.Context) event.Gauges {
	g := event.Gauges{At: time.Now(), Instances: make([]event.Usage, len(all))}
	g.Memory, g.MemoryLimit = supervisor.Memory("/")
	for i, in := range all {
		g.Instances[i] = in.usage(ctx)
	}
	return g
}

// usage samples one. It is asked for its GPU only while it is known to answer.
func (in *instance) usage(ctx context.Context) event.Usage {
	u := event.Usage{Instance: in.name, Resident: in.process.Resident()}
	if in.gate.Err() != nil {
		return u
	}
	ctx, cancel := context.WithTimeout(ctx, statsLimit)
	defer cancel()
	stats, err := in.client.Stats(ctx)
	if err != nil || len(stats.Devices) == 0 {
		return u // the monitor judges whether it lives
	}
	d := stats.Devices[0] // what it computes on comes first
	u.Device = d.Name
	u.VRAMUsed, u.VRAMTotal = uint64(max(d.VRAMTotal-d.VRAMFree, 0)), uint64(max(d.VRAMTotal, 0))
	return u
}
