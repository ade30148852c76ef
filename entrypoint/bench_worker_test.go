package main

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/secret"
	"github.com/comfyvisor/comfyvisor/worker"
)

// work puts comfyvisor's own worker and clients, wired as in the program and
// with its log, between the queue and the ComfyUI of a stand. Files of results go to
// store, or into the result if there is none.
func work(s *stand, prefetch bool, store worker.Store) *stand {
	s.tb.Helper()
	log, flush := newLogger(LogConfig{Format: "json", Level: "info"}, io.Discard, new(secret.Scrubber), func(int) {})
	env := s.queue.env()
	queue, err := runpod.New(runpod.Config{
		TakeURL:  runpod.Template{Name: "RUNPOD_WEBHOOK_GET_JOB", URL: env["RUNPOD_WEBHOOK_GET_JOB"]},
		DoneURL:  runpod.Template{Name: "RUNPOD_WEBHOOK_POST_OUTPUT", URL: env["RUNPOD_WEBHOOK_POST_OUTPUT"]},
		PingURL:  runpod.Template{Name: "RUNPOD_WEBHOOK_PING", URL: env["RUNPOD_WEBHOOK_PING"]},
		APIKey:   env["RUNPOD_AI_API_KEY"],
		WorkerID: env["RUNPOD_POD_ID"],
	}, log)
	if err != nil {
		s.tb.Fatal(err)
	}
	client := comfy.New(comfy.Config{Addr: s.comfy.Addr}, log)
	slot := &worker.Slot{
		Gate: new(health.Gate), Comfy: client,
		Restart: func(string) {}, Condemn: func(error) {}, GiveUp: func(error) {}, Poke: func() {}, Worked: func() {},
		Activity:  func() uint64 { return 0 },
		OutputDir: s.comfy.OutputDir(), InputDir: s.comfy.InputDir(),
	}
	w := worker.New(worker.Config{Source: queue, Slots: []*worker.Slot{slot}, Prefetch: prefetch, Store: store}, log)
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = queue.Run(ctx) })
	parts.Go(func() { _ = w.Run(ctx) }) // both end as they are told to
	slot.Gate.Open()
	s.tb.Cleanup(func() {
		s.queue.CloseClientConnections() // an open poll would be read on for 2 s
		stop()
		parts.Wait()
		_ = client.Close() // never fails
		flush()
	})
	return s
}

// bothWays are a stand with comfyvisor and one with the floor beside it.
func bothWays(b *testing.B, prefetch bool) (ours, floor *stand) {
	lanes := 1
	if prefetch {
		lanes = 2
	}
	ours, floor = work(newStand(b), prefetch, nil), bare(newStand(b), lanes)
	for _, s := range []*stand{ours, floor} {
		s.round(20, imageFiles(1, 1000)) // connections are open and buffers made
	}
	return ours, floor
}
