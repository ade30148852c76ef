package localapi

import (
	"errors"
	"fmt"
	"net/http"
)

// tally counts jobs: the first two as they stand, the others since the start.
type tally struct {
	InProgress int `json:"inProgress"`
	InQueue    int `json:"inQueue"`
	Completed  int `json:"completed"`
	Failed     int `json:"failed"`
	Retried    int `json:"retried"`
}

// workers counts the workers by state, of which there is one.
type workers struct {
	Idle         int `json:"idle"`
	Initializing int `json:"initializing"`
	Ready        int `json:"ready"`
	Running      int `json:"running"`
	Throttled    int `json:"throttled"`
	Unhealthy    int `json:"unhealthy"`
}

var errRestart = errors.New("restart ComfyUI")

// restart asks for a new ComfyUI.
func (s *Server) restart(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Force bool `json:"force"`
	}
	if err := s.readInto(r, &sent); err != nil {
		s.refuse(w, err)
		return
	}
	told, err := s.cfg.Restart(sent.Force)
	if err != nil {
		s.refuse(w, fmt.Errorf("%w: %w", errRestart, err))
		return
	}
	s.send(w, http.StatusAccepted, struct {
		Status  string `json:"status"`
		Force   bool   `json:"force"`
		Message string `json:"message"`
	}{"restarting", sent.Force, told})
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	t := s.store.count()
	var n workers
	switch {
	case s.cfg.Ready() != nil:
		n.Initializing = 1
	case t.InProgress > 0:
		n.Ready, n.Running = 1, 1
	default:
		n.Ready, n.Idle = 1, 1
	}
	s.send(w, http.StatusOK, struct {
		Jobs    tally   `json:"jobs"`
		Workers workers `json:"workers"`
	}{t, n})
}

func (s *Server) ping(w http.ResponseWriter, _ *http.Request) {
	if s.cfg.Ready() != nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.send(w, http.StatusOK, map[string]string{"status": "ready"})
}
