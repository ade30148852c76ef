package localapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// runSync answers when the job has ended. Before that it answers how the job
// stands, when the client's time is over or the server stops.
func (s *Server) runSync(w http.ResponseWriter, r *http.Request) {
	wait, err := waitOf(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	id := "sync-" + uuid.NewString() + idSuffix
	final, err := s.submit(r, id, true)
	if err != nil {
		s.refuse(w, err)
		return
	}
	defer s.store.unawaited(id)
	if s.await(r, final, wait) != nil {
		return // the client is gone, the job goes on
	}
	s.sendSync(w, id)
}

// await returns when final is closed, when wait is over, or when the server
// stops. The error is that of a client that is gone.
func (s *Server) await(r *http.Request, final <-chan struct{}, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-final:
	case <-timer.C:
	case <-s.closing:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	return nil
}

// sendSync answers who has waited for a job.
func (s *Server) sendSync(w http.ResponseWriter, id string) {
	v, err := s.store.view(id)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if v.state == inProgress {
		v.output = nil // progress here would pass for the result
	}
	code := http.StatusOK
	if v.state == failed && !v.ran {
		code = http.StatusServiceUnavailable
	}
	s.sendJob(w, code, v)
}

// statusSync answers when the job that is asked for has ended, as runSync does.
func (s *Server) statusSync(w http.ResponseWriter, r *http.Request) {
	wait, err := waitOf(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	id := r.PathValue("id")
	final, err := s.store.final(id)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if s.await(r, final, wait) != nil {
		return
	}
	s.sendSync(w, id)
}

const (
	minWait     = time.Second
	defaultWait = 90 * time.Second
	maxWait     = 5 * time.Minute
)

func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return defaultWait, nil
	}
	ms, err := strconv.Atoi(text)
	wait := time.Duration(ms) * time.Millisecond
	if err != nil || wait < minWait || wait > maxWait {
		return 0, badRequest(fmt.Sprintf("wait is %q: it is %d to %d ms", text, minWait.Milliseconds(), maxWait.Milliseconds()))
	}
	return wait, nil
}
