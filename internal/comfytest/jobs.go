package comfytest

import (
	"net/http"
	"slices"
)

// jobStates are the states of a job in the jobs API.
func jobStates() []string {
	return []string{"pending", "in_progress", "completed", "failed", "cancelled"}
}

// A jobView is one prompt as the jobs API shows it.
type jobView struct {
	json     *object
	status   string
	created  float64
	duration float64
}

// getJobs is GET /api/jobs. One prompt with odd extra_data spoils the whole
// list for everybody.
func (c *Comfy) getJobs(w http.ResponseWriter, r *http.Request) {
	q, problem := parseJobsQuery(r)
	if problem != "" {
		c.answer(w, http.StatusBadRequest, obj("error", problem))
		return
	}
	views, fine := c.jobViews()
	if !fine {
		c.trouble(w)
		return
	}
	jobs := q.apply(views)
	total := len(jobs)
	first := min(q.offset, total)
	last := total
	var limit any
	if q.limit > 0 {
		last, limit = min(total, first+q.limit), q.limit
	}
	shown := []any{}
	for _, v := range jobs[first:last] {
		shown = append(shown, v.json)
	}
	c.answer(w, http.StatusOK, obj("jobs", shown, "pagination",
		obj("offset", q.offset, "limit", limit, "total", total, "has_more", last < total)))
}

func (c *Comfy) jobViews() ([]*jobView, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var views []*jobView
	fine := true
	add := func(p *prompt, e *historyEntry, status string) {
		v, ok := newJobView(p, e, status)
		fine = fine && ok
		views = append(views, v)
	}
	if p := c.queue.running; p != nil {
		add(p, nil, "in_progress")
	}
	for _, p := range c.queue.pending {
		add(p, nil, "pending")
	}
	for _, id := range c.history.order {
		e := c.history.entries[id]
		add(e.prompt, e, e.jobStatus())
	}
	return views, fine
}

func (e *historyEntry) jobStatus() string {
	switch e.outcome {
	case Success:
		return "completed"
	case Interrupted:
		return "cancelled"
	}
	return "failed"
}

// getJob is GET /api/jobs/{id}. An ended run of an id hides a running one.
func (c *Comfy) getJob(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	c.mu.Lock()
	var p *prompt
	status := ""
	e := c.history.entries[id]
	pending := slices.IndexFunc(c.queue.pending, func(p *prompt) bool { return p.id == id })
	switch {
	case e != nil:
		p, status = e.prompt, e.jobStatus()
	case c.queue.running != nil && c.queue.running.id == id:
		p, status = c.queue.running, "in_progress"
	case pending >= 0:
		p, status = c.queue.pending[pending], "pending"
	}
	c.mu.Unlock()
	if p == nil {
		c.answer(w, http.StatusNotFound, obj("error", "Job not found"))
		return
	}
	v, ok := newJobView(p, e, status)
	if !ok {
		c.trouble(w)
		return
	}
	if e != nil {
		v.json.set("outputs", e.outputs)
		v.json.set("execution_status", e.status)
		v.json.set("workflow", obj("prompt", p.workflow, "extra_data", p.extra))
	}
	c.answer(w, http.StatusOK, v.json)
}
