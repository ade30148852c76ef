package localapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// item is a job as lists show it. What is not known yet is null.
type item struct {
	ID            string           `json:"id"`
	Status        state            `json:"status"`
	CreatedAt     *int64           `json:"createdAt"` // ms since 1970, as the next two
	StartedAt     *int64           `json:"startedAt"`
	EndedAt       *int64           `json:"endedAt"`
	DelayTime     *int64           `json:"delayTime"` // ms
	ExecutionTime *int64           `json:"executionTime"`
	Error         *string          `json:"error"`
	Cause         *string          `json:"cause"`
	Attempts      int              `json:"attempts"`
	Progress      *job.Progress    `json:"progress"`
	Timings       *payload.Timings `json:"timings"`
	Files         []outputFile     `json:"files"`
}

// detail is a job with all that is known of it but the bytes of its files.
type detail struct {
	item
	Input   json.RawMessage `json:"input"`
	Values  json.RawMessage `json:"values"`
	Details json.RawMessage `json:"details"`
}

func (r *record) item() item {
	o := &r.outcome
	it := item{
		ID: r.id, Status: r.state, CreatedAt: msSince1970(r.created), StartedAt: msSince1970(r.taken), EndedAt: msSince1970(r.over),
		Attempts: r.attempts, Files: o.files,
	}
	if it.Files == nil {
		it.Files = []outputFile{}
	}
	if r.progress != nil {
		p := *r.progress
		p.Preview = nil
		it.Progress = &p
	}
	if o.failure != "" {
		it.Error = &o.failure
	}
	if o.cause != "" {
		it.Cause = &o.cause
	}
	if !r.taken.IsZero() {
		it.DelayTime = new(r.delay().Milliseconds())
	}
	if !r.taken.IsZero() && !r.over.IsZero() {
		it.ExecutionTime = new(r.execution().Milliseconds())
		it.Timings = payload.TimingsOf(o.timings)
	}
	return it
}

func msSince1970(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}

// A selection says which jobs a list has.
type selection struct {
	limit  int
	before string  // the id of a job that is newer than all of the list; "" for none
	states []state // nil for all
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// selectionOf reads the query. Its errors are badRequest.
func selectionOf(r *http.Request) (selection, error) {
	q := r.URL.Query()
	sel := selection{limit: defaultLimit, before: q.Get("before")}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			return sel, badRequest(fmt.Sprintf("limit is %q: it is 1 to %d", text, maxLimit))
		}
		sel.limit = n
	}
	all := []state{inQueue, inProgress, completed, failed, cancelled, timedOut}
	for _, text := range q["status"] {
		for word := range strings.SplitSeq(text, ",") {
			if !slices.Contains(all, state(word)) {
				return sel, badRequest(fmt.Sprintf("status is %q: it is one of %v", word, all))
			}
			sel.states = append(sel.states, state(word))
		}
	}
	return sel, nil
}

// list returns the selected jobs, the newest first, and whether there are more.
func (s *store) list(sel selection) (items []item, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var before *record
	if sel.before != "" {
		if before, err = s.findLocked(sel.before); err != nil {
			return nil, false, err
		}
	}
	var found []*record
	for _, r := range s.jobs {
		if (before == nil || r.order < before.order) && (sel.states == nil || slices.Contains(sel.states, r.state)) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *record) int { return cmp.Compare(b.order, a.order) })
	more = len(found) > sel.limit
	items = []item{}
	for _, r := range found[:min(sel.limit, len(found))] {
		items = append(items, r.item())
	}
	return items, more, nil
}

// detail returns all of one job.
func (s *store) detail(id string) (detail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(id)
	if err != nil {
		return detail{}, err
	}
	d := detail{item: r.item(), Input: r.input, Values: r.outcome.values, Details: r.outcome.details}
	d.Progress = r.progress
	return d, nil
}

func (s *Server) jobs(w http.ResponseWriter, r *http.Request) {
	sel, err := selectionOf(r)
	if err != nil {
		s.refuse(w, err)
		return
	}
	items, more, err := s.store.list(sel)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.send(w, http.StatusOK, struct {
		Jobs []item `json:"jobs"`
		More bool   `json:"more"`
	}{items, more})
}

func (s *Server) job(w http.ResponseWriter, r *http.Request) {
	d, err := s.store.detail(r.PathValue("id"))
	if err != nil {
		s.refuse(w, err)
		return
	}
	d.Input = shown(d.Input)
	s.send(w, http.StatusOK, d)
}
