package simulation

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/s3store"
	"github.com/comfyvisor/comfyvisor/worker"
)

func (p *pod) newSource() *source {
	base := "http://queue.test/v2/simulated/"
	cfg := runpod.Config{
		TakeURL: runpod.Template{Name: "TAKE", URL: base + "job-take/$ID"},
		DoneURL: runpod.Template{Name: "DONE", URL: base + "job-done/$RUNPOD_POD_ID/$ID?gpu=simulated"},
		PingURL: runpod.Template{Name: "PING", URL: base + "ping/$RUNPOD_POD_ID"},
		APIKey:  "key", SpoolDir: p.r.dir, WorkerID: p.name, Version: "1.12.0", Dial: p.r.queueLink.dialer(p.host), PollTimeout: 2 * hold, ProgressInterval: 4 * time.Second, Hurry: p.hurry,
	}
	p.r.weaken.queue(&cfg)
	c, err := runpod.New(cfg, p.r.log.Named(p.name))
	if err != nil {
		panic(err) // it is our own configuration
	}
	return &source{Client: c, p: p}
}

// A source is the queue's client, and looks when it is used.
type source struct {
	*runpod.Client
	p     *pod
	taken atomic.Int64 // jobs so far
}

func (s *source) Take(ctx context.Context, n int) ([]job.Job, error) {
	s.p.r.asked(s.p, s.taken.Load())
	withdrawn := make(chan time.Time, 1)
	unused := context.AfterFunc(ctx, func() { withdrawn <- time.Now() })
	jobs, err := s.Client.Take(ctx, n)
	if !unused() && len(jobs) == 0 {
		s.p.hungUp(<-withdrawn)
	}
	s.taken.Add(int64(len(jobs)))
	for i := range jobs {
		s.p.r.weaken.job(&jobs[i])
	}
	return jobs, err
}

// Done may lose a result, if that is what is planted.
func (s *source) Done(ctx context.Context, x job.Result) error {
	if loses := s.p.r.weaken.loses; loses != nil && loses(s.p.r, x.ID) {
		return nil
	}
	return s.Client.Done(ctx, x)
}

func (p *pod) newStore() worker.Store {
	p.s3 = &http.Transport{DialContext: p.r.storeLink.dialer(p.host), DisableCompression: true, ResponseHeaderTimeout: 20 * time.Second}
	store, err := s3store.New(s3store.Config{
		EndpointURL: "http://s3.test:9000/outputs", AccessKeyID: "access", SecretAccessKey: "secret",
		Transport: p.s3,
	}, p.r.log.Named(p.name))
	if err != nil {
		panic(err) // it is our own configuration
	}
	return store
}
