package comfytest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
)

func (c *Comfy) getIndex(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = io.WriteString(w, "<!doctype html><html><body>simulated ComfyUI</body></html>\n")
}

func (c *Comfy) getPrompt(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	info := c.execInfo()
	c.mu.Unlock()
	c.answer(w, http.StatusOK, info)
}

func (c *Comfy) getQueue(w http.ResponseWriter, _ *http.Request) {
	running, pending := []any{}, []any{}
	c.mu.Lock()
	if p := c.queue.running; p != nil {
		running = append(running, p.tuple())
	}
	for _, p := range c.queue.pending {
		pending = append(pending, p.tuple())
	}
	c.mu.Unlock()
	c.answer(w, http.StatusOK, obj("queue_running", running, "queue_pending", pending))
}

// postQueue takes pending prompts out. Nothing in the answer tells whether it
// found them, and they leave no other trace.
func (c *Comfy) postQueue(w http.ResponseWriter, r *http.Request) {
	body, ok := c.objectBody(w, r)
	if !ok {
		return
	}
	clear, _ := body.get("clear").(bool)
	ids, _ := body.get("delete").([]any)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue.remove(func(p *prompt) bool { return clear || slices.Contains(ids, any(p.id)) }) {
		c.hub.post(outgoing{event: "status", data: c.statusData()})
	}
}

// postInterrupt sets the interrupt flag: for whatever runs, or only if one
// prompt does.
func (c *Comfy) postInterrupt(w http.ResponseWriter, r *http.Request) {
	c.ledger.note(func() { c.ledger.interrupts++ })
	data, err := io.ReadAll(r.Body)
	if err != nil {
		c.bodyError(w, err)
		return
	}
	v, err := decode(data)
	body, isObject := v.(*object)
	if err == nil && !isObject {
		c.trouble(w)
		return
	}
	id, targeted := body.get("prompt_id").(string)
	c.mu.Lock()
	running := c.queue.running
	c.mu.Unlock()
	switch {
	case !targeted || id == "":
		c.log.info("Global interrupt (no prompt_id specified)")
		c.interrupted.Store(true)
	case running != nil && running.id == id:
		c.log.info("Interrupting prompt %s", id)
		c.interrupted.Store(true)
	default:
		c.log.info("Prompt %s is not currently running, skipping interrupt", id)
	}
}

// postFree empties the cache once the worker is idle.
func (c *Comfy) postFree(w http.ResponseWriter, r *http.Request) {
	body, ok := c.objectBody(w, r)
	if !ok {
		return
	}
	if pyBool(body.get("free_memory")) {
		c.mu.Lock()
		c.freeing = true
		c.mu.Unlock()
		c.queue.poke()
	}
}

// postFaults replaces the script of what goes wrong. Only the simulator has
// this route.
func (c *Comfy) postFaults(w http.ResponseWriter, r *http.Request) {
	var f Faults
	if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.SetFaults(f)
}

// A Ledger is what GET /sim/ledger answers.
type Ledger struct {
	Executions []Execution `json:"executions"`
	Requests   []Request   `json:"requests"`
	Interrupts int         `json:"interrupts"`
	History    int         `json:"history"`
	Sockets    int         `json:"sockets"`
	Rushed     []string    `json:"rushed"`
}

func (c *Comfy) getLedger(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Ledger{c.Executions(), c.Requests(), c.Interrupts(), c.HistorySize(), c.Sockets(), c.Rushed()})
}
