package comfytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A run is one execution of a prompt.
type run struct {
	c     *Comfy
	p     *prompt
	cache *resultCache
	keys  map[string]string // cache keys by node id
	fault Fault

	progress *progressBook
	messages []any
	executed []string
	ui       *object // outputs of this run by node id
}

// errWorkerGone ends the worker thread: no exception handler of the executor
// catches it.
var errWorkerGone = errors.New("worker thread ended")

// errInterrupted is InterruptProcessingException.
var errInterrupted = errors.New("processing interrupted")

// errProcessEnded is returned by what the end of the process cut short.
var errProcessEnded = errors.New("process ended")

// execute runs one prompt and tells about it. It returns false when the
// worker thread or the process ended in the middle.
func (c *Comfy) execute(p *prompt, cache *resultCache) bool {
	started := time.Now()
	c.interrupted.Store(false)
	c.log.debug("Using selector: EpollSelector")
	r := &run{c: c, p: p, cache: cache, ui: obj()}
	r.fault, _ = c.faults.next("prompt")
	r.progress = newProgressBook(r)
	err := r.begin()
	if err == nil {
		err = r.nodes()
	}
	switch {
	case errors.Is(err, errWorkerGone):
		c.ledger.note(func() { p.execution.end(Lost) })
		return false
	case errors.Is(err, errProcessEnded):
		return false
	}
	return r.finish(err, started)
}

// begin tells that the prompt starts and what of it is cached.
func (r *run) begin() error {
	c := r.c
	c.mu.Lock()
	c.clientID = nil
	if id, ok := r.p.extra.get("client_id").(string); ok {
		c.clientID = &id
	}
	c.mu.Unlock()
	c.ledger.note(func() {
		r.p.execution.Started = time.Now()
		c.ledger.executions = append(c.ledger.executions, r.p.execution)
	})
	c.record(r.p.execution)
	r.message("execution_start", obj("prompt_id", r.p.id), false)
	if err := r.slowChange(); err != nil {
		return err
	}
	r.keys = c.signatures(r.p.workflow)
	cached := r.cache.open(r.p.workflow.keys, r.keys)
	c.ledger.note(func() { r.p.execution.Cached = cached })
	r.message("execution_cached", obj("nodes", list(cached), "prompt_id", r.p.id), false)
	return nil
}

// finish writes the history and sends the end marker, in ComfyUI's order.
func (r *run) finish(err error, started time.Time) bool {
	c := r.c
	outcome := Success
	switch {
	case err == nil:
		r.message("execution_success", obj("prompt_id", r.p.id), false)
	case errors.Is(err, errInterrupted):
		outcome = Interrupted
	default:
		outcome = Failed
	}
	if r.fault.Do == "late-history" && !c.sleep(c.ctx, r.fault.Delay) {
		return false
	}
	c.mu.Lock()
	c.lastNode = ""
	c.queue.running = nil
	if r.fault.Do != "no-history" {
		c.history.add(r.entry(outcome))
	}
	owner := c.clientID
	c.mu.Unlock()
	c.ledger.note(func() { r.p.execution.end(outcome) })
	c.record(r.p.execution)
	c.postStatus()
	c.log.info("%s", c.gen.executedLine(time.Since(started)))
	if !c.sleep(c.ctx, c.cfg.GCDelay) {
		return false
	}
	if owner != nil && r.fault.Do != "no-end" {
		c.hub.post(outgoing{to: owner, event: "executing", data: obj("node", nil, "prompt_id", r.p.id)})
	}
	return true
}

func (g generation) executedLine(d time.Duration) string {
	line := fmt.Sprintf("Prompt executed in %.2f seconds", d.Seconds())
	if g.coloredLog {
		return "\x1b[32m" + line + "\x1b[0m"
	}
	return line
}

// message sends one of the messages that also go into the history. Without a
// client id it reaches nobody, unless it is for all.
func (r *run) message(event string, data *object, forAll bool) {
	data.set("timestamp", time.Now().UnixMilli())
	r.messages = append(r.messages, []any{event, data})
	r.tell(event, data, forAll)
}

func (r *run) tell(event string, data *object, forAll bool) {
	owner := r.owner()
	if owner == nil && !forAll {
		return
	}
	r.c.hub.post(outgoing{to: owner, event: event, data: data})
}

func (r *run) owner() *string {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.c.clientID
}

// newExecution opens the account of a prompt.
func newExecution(p *prompt, client string) *Execution {
	workflow, _ := encode(p.workflow)
	all := p.extra.clone()
	for _, k := range p.keys.keys {
		all.set(k, p.keys.get(k))
	}
	extra, _ := encode(all)
	return &Execution{
		PromptID:  p.id,
		ClientID:  client,
		Number:    p.number,
		Workflow:  json.RawMessage(workflow),
		ExtraData: json.RawMessage(extra),
		Queued:    time.Now(),
		Outcome:   Running,
	}
}
