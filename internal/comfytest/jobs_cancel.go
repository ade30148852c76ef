package comfytest

import (
	"io"
	"net/http"
	"slices"
)

func (c *Comfy) postCancelJob(w http.ResponseWriter, r *http.Request) {
	c.ledger.note(func() { c.ledger.interrupts++ })
	c.answer(w, http.StatusOK, obj("cancelled", c.cancelJob(r.PathValue("id"))))
}

// postCancelJobs cancels several: all of them, or none if one id is no UUID.
func (c *Comfy) postCancelJobs(w http.ResponseWriter, r *http.Request) {
	c.ledger.note(func() { c.ledger.interrupts++ })
	data, err := io.ReadAll(r.Body)
	if err != nil {
		c.bodyError(w, err)
		return
	}
	v, err := decode(data)
	if err != nil {
		c.answer(w, http.StatusBadRequest, obj("error", "Request body must be valid JSON"))
		return
	}
	body, _ := v.(*object)
	ids, ok := body.get("job_ids").([]any)
	if !ok {
		c.answer(w, http.StatusBadRequest, obj("error", "job_ids must be a list"))
		return
	}
	bad := slices.DeleteFunc(slices.Clone(ids), func(id any) bool { return id != nil && validPromptID(id) })
	if len(bad) > 0 {
		c.answer(w, http.StatusBadRequest, obj("error", "job_ids contains invalid id(s)", "invalid_ids", bad))
		return
	}
	cancelled := false
	for _, id := range ids {
		if c.cancelJob(id.(string)) {
			cancelled = true
		}
	}
	c.answer(w, http.StatusOK, obj("cancelled", cancelled))
}

// cancelJob takes a pending prompt out, or interrupts a running one. The flag
// is cleared when a run begins, so that true is no proof.
func (c *Comfy) cancelJob(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue.remove(func(p *prompt) bool { return p.id == id }) {
		c.log.info("Cancelling pending prompt %s", id)
		c.hub.post(outgoing{event: "status", data: c.statusData()})
		return true
	}
	if p := c.queue.running; p != nil && p.id == id {
		c.log.info("Cancelling running prompt %s", id)
		c.interrupted.Store(true)
		return true
	}
	return false
}
