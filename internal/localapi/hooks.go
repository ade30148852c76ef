package localapi

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// How often, and after which pause, the end of a job is told to its webhook.
const (
	hookTries = 3
	hookPause = 10 * time.Second
	// hooksAtOnce bounds what is told at the same time.
	hooksAtOnce = 8
)

// hooks tells the ends of jobs to their webhooks until ctx ends. What is due then
// is told by the next process, where it is kept for that.
func (s *Server) hooks(ctx context.Context) {
	if s.cfg.Webhooks == nil {
		return
	}
	sent := make(chan struct{}, hooksAtOnce)
	under := 0
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		for _, h := range s.store.dueHooks(time.Now(), hooksAtOnce-under) {
			under++
			go func() {
				defer func() { sent <- struct{}{} }()
				s.tell(ctx, h)
			}()
		}
		select {
		case <-sent:
			under--
		case <-s.store.hooksDue:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	for ; under > 0; under-- {
		<-sent
	}
}

// A hook is a webhook that is due.
type hook struct {
	id, url string
	over    time.Time // which end of the job it tells
	tries   int       // before
}

// tell sends one webhook and remembers how that went.
func (s *Server) tell(ctx context.Context, h hook) {
	err := s.post(ctx, h)
	if err != nil && ctx.Err() != nil {
		s.store.hooked(h, false, false) // it was not given the time: this was no try
		return
	}
	s.store.hooked(h, err == nil, true)
	log := s.log.With(zap.String("job", h.id), zap.Int("attempt", h.tries+1))
	switch {
	case err == nil:
		log.Debug("webhook sent")
	case h.tries+1 < hookTries:
		log.Info("webhook not sent; another try follows", zap.Error(err), zap.Duration("pause", hookPause))
	default:
		log.Warn("webhook given up", zap.Error(err))
	}
}

func (s *Server) post(ctx context.Context, h hook) error {
	v, err := s.store.view(h.id)
	if err != nil {
		return err
	}
	var output *payload.Body
	if v.output != nil {
		body, file, err := v.output.again()
		if err != nil {
			return err
		}
		defer file.Close()
		output = body
	}
	fields := s.fields(v)
	fields["webhook"] = h.url
	answer, err := payload.Object(fields, "output", output)
	if err != nil {
		return err
	}
	return s.cfg.Webhooks.Post(ctx, h.url, answer)
}

// dueHooks returns up to n webhooks that are due, and marks them as under way.
func (s *store) dueHooks(now time.Time, n int) (due []hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.ended {
		if len(due) == n {
			break
		}
		if !r.hookNext.IsZero() && !r.hooking && !now.Before(r.hookNext) {
			r.hooking = true
			due = append(due, hook{r.id, r.webhook, r.over, r.hookTries})
		}
	}
	return due
}

// hooked tells how a webhook went, and whether that was a try.
func (s *store) hooked(h hook, done, counts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.jobs[h.id]
	if r == nil || !r.over.Equal(h.over) { // retried meanwhile
		return
	}
	r.hooking = false
	if !counts {
		return
	}
	r.hookTries++
	r.hookNext = time.Now().Add(hookPause)
	if done || r.hookTries == hookTries {
		r.hookNext = time.Time{}
	}
	s.saveLocked(r, false)
}
