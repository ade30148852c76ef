package comfytest

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// secretNames are the keys of extra_data that the newer generation keeps out
// of sight.
var secretNames = [...]string{"auth_token_comfy_org", "api_key_comfy_org"}

// postPrompt is POST /prompt: it validates, queues and answers.
func (c *Comfy) postPrompt(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		c.bodyError(w, err)
		return
	}
	c.log.info("got prompt")
	v, err := decode(data)
	if err != nil {
		c.trouble(w)
		return
	}
	body, ok := v.(*object)
	if !ok || !body.has("prompt") {
		if _, isNumber := v.(json.Number); isNumber || v == nil {
			c.trouble(w)
			return
		}
		c.refuse(w, refusal("no_prompt", "No prompt provided", "No prompt provided"), obj())
		return
	}
	if c.gen.uuidPromptIDs && !validPromptID(body.get("prompt_id")) {
		c.refuse(w, refusal("invalid_prompt_id", "prompt_id must be a valid UUID",
			"prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one"), obj())
		return
	}
	workflow, ok := body.get("prompt").(*object)
	if !ok {
		c.trouble(w)
		return
	}
	c.submit(w, r, body, workflow)
}

func validPromptID(v any) bool {
	if v == nil {
		return true
	}
	s, ok := v.(string)
	if !ok {
		return false
	}
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// submit validates a workflow and queues what of it is valid.
func (c *Comfy) submit(w http.ResponseWriter, r *http.Request, body, workflow *object) {
	v := newValidation(c, workflow, body.get("partial_execution_targets"))
	outputs, refused, crashed := v.prompt()
	if crashed {
		c.trouble(w)
		return
	}
	if refused != nil {
		c.log.info("invalid prompt: %v", refused.get("message"))
		c.refuse(w, refused, v.nodeErrors)
		return
	}
	extra, ok := body.get("extra_data").(*object)
	if !ok && body.has("extra_data") {
		c.trouble(w)
		return
	}
	p := &prompt{workflow: workflow, outputs: outputs, extra: extra.clone(), keys: obj(), id: promptIDOf(body, c.gen)}
	if body.has("client_id") {
		p.extra.set("client_id", body.get("client_id"))
	}
	c.supplement(p, r)
	// An idle worker begins when the answer is out: so it looks from outside,
	// where Python needs longer to wake a thread than to write a response.
	defer c.queue.poke()
	if !c.enqueue(p, body) {
		c.trouble(w)
		return
	}
	defer func() { _ = http.NewResponseController(w).Flush() }()
	c.answer(w, http.StatusOK, obj("prompt_id", p.id, "number", p.shownNumber(), "node_errors", v.nodeErrors))
}

// supplement sets the API keys apart and adds what the server adds.
func (c *Comfy) supplement(p *prompt, r *http.Request) {
	for _, name := range secretNames {
		if p.extra.has(name) {
			p.keys.set(name, p.extra.get(name))
		}
	}
	if c.gen.keysApart {
		p.extra = p.withoutKeys()
	}
	if !c.gen.createTime {
		return
	}
	p.extra.set("create_time", time.Now().UnixMilli())
	if source := r.Header.Get("Comfy-Usage-Source"); source != "" {
		p.extra.set("comfy_usage_source", source)
	}
}

// promptIDOf is the client's id as Python's str would write it, or a fresh one.
func promptIDOf(body *object, gen generation) string {
	v := body.get("prompt_id")
	if !body.has("prompt_id") || v == nil && gen.uuidPromptIDs {
		return uuid.NewString()
	}
	return pyStr(v)
}

// enqueue numbers p and puts it into the queue. It returns false when the
// queue could not compare it with another item, which leaves it queued.
func (c *Comfy) enqueue(p *prompt, body *object) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number, ok := toFloat(body.get("number")); ok {
		p.number = number
	} else {
		p.number, p.whole = float64(c.queue.counter), true
		if front, _ := body.get("front").(bool); front {
			p.number = -p.number
		}
		c.queue.counter++
	}
	client, _ := body.get("client_id").(string)
	p.execution = newExecution(p, client)
	fine := c.queue.put(p)
	if fine {
		c.hub.post(outgoing{event: "status", data: c.statusData()})
	}
	return fine
}

func refusal(kind, message, details string, extra ...any) *object {
	return obj("type", kind, "message", message, "details", details, "extra_info", obj(extra...))
}

func (c *Comfy) refuse(w http.ResponseWriter, err, nodeErrors *object) {
	c.answer(w, http.StatusBadRequest, obj("error", err, "node_errors", nodeErrors))
}
