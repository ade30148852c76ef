package comfytest

import (
	"io"
	"net/http"
	"slices"
	"strconv"
)

// maxHistory is how many prompts ComfyUI remembers.
const maxHistory = 10000

// A historyBook holds ended prompts in the order of their ends. It belongs to
// the holder of Comfy.mu.
type historyBook struct {
	order   []string
	entries map[string]*historyEntry
}

type historyEntry struct {
	prompt  *prompt
	outcome string
	outputs *object
	status  *object
	meta    *object
}

func newHistoryBook() historyBook {
	return historyBook{entries: make(map[string]*historyEntry)}
}

// add puts an entry at the end; one of the same id is overwritten where it is.
func (h *historyBook) add(e *historyEntry) {
	id := e.prompt.id
	if _, ok := h.entries[id]; !ok {
		h.order = append(h.order, id)
	}
	h.entries[id] = e
	for len(h.order) > maxHistory {
		h.remove(h.order[0])
	}
}

func (h *historyBook) remove(id string) {
	delete(h.entries, id)
	h.order = slices.DeleteFunc(h.order, func(other string) bool { return other == id })
}

func (e *historyEntry) json() *object {
	return obj("prompt", e.prompt.tuple(), "outputs", e.outputs, "status", e.status, "meta", e.meta)
}

// entry is the history of a run that has ended.
func (r *run) entry(outcome string) *historyEntry {
	outputs := r.ui.clone()
	if !r.c.gen.ownOutputs {
		for _, id := range r.p.workflow.keys {
			if e := r.cache.get(r.keys[id]); e != nil && e.ui != nil && !outputs.has(id) {
				outputs.set(id, e.ui)
			}
		}
	}
	meta := obj()
	for _, id := range outputs.keys {
		meta.set(id, obj("node_id", id, "display_node", id, "parent_node", nil, "real_node_id", id))
	}
	word := "success"
	if outcome != Success {
		word = "error"
	}
	ended := *r.p
	ended.extra = r.p.withoutKeys()
	return &historyEntry{
		prompt:  &ended,
		outcome: outcome,
		outputs: outputs,
		status:  obj("status_str", word, "completed", outcome == Success, "messages", r.messages),
		meta:    meta,
	}
}

func (c *Comfy) getHistory(w http.ResponseWriter, r *http.Request) {
	all := obj()
	id := r.PathValue("id")
	c.mu.Lock()
	first, last, err := historyRange(r, len(c.history.order))
	if err != nil {
		c.mu.Unlock()
		c.trouble(w)
		return
	}
	if id != "" {
		if e, ok := c.history.entries[id]; ok {
			all.set(id, e.json())
		}
	} else {
		for _, id := range c.history.order[first:last] {
			all.set(id, c.history.entries[id].json())
		}
	}
	c.mu.Unlock()
	c.answer(w, http.StatusOK, all)
}

// historyRange reads max_items and offset for n entries: without an offset
// the newest ones are meant.
func historyRange(r *http.Request, n int) (first, last int, err error) {
	last = n
	q := r.URL.Query()
	if q.Has("max_items") {
		items, err := strconv.Atoi(q.Get("max_items"))
		if err != nil {
			return 0, 0, err
		}
		if !q.Has("offset") {
			first = max(0, n-items)
		}
		last = first + items
	}
	if q.Has("offset") {
		offset, err := strconv.Atoi(q.Get("offset"))
		if err != nil {
			return 0, 0, err
		}
		if offset >= 0 {
			last += offset
			first += offset
		}
	}
	first = min(max(first, 0), n)
	return first, min(max(last, first), n), nil
}

// postHistory deletes entries. Nothing in the answer tells whether it did.
func (c *Comfy) postHistory(w http.ResponseWriter, r *http.Request) {
	body, ok := c.objectBody(w, r)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if yes, _ := body.get("clear").(bool); yes {
		c.history = newHistoryBook()
	}
	ids, _ := body.get("delete").([]any)
	for _, id := range ids {
		if id, ok := id.(string); ok {
			c.history.remove(id)
		}
	}
}

// objectBody reads a JSON object; anything else ends in a 500, as the
// exception in ComfyUI's handler does.
func (c *Comfy) objectBody(w http.ResponseWriter, r *http.Request) (*object, bool) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		c.bodyError(w, err)
		return nil, false
	}
	v, err := decode(data)
	body, isObject := v.(*object)
	if err != nil || !isObject {
		c.trouble(w)
		return nil, false
	}
	return body, true
}
