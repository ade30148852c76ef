package comfytest

import (
	"errors"
	"fmt"
	"slices"
)

// nodes runs what the prompt's outputs need, one node at a time, and returns
// the first error.
func (r *run) nodes() error {
	left := r.needed()
	for len(left) > 0 {
		id := r.pick(left)
		if id == "" {
			return nil
		}
		left = slices.DeleteFunc(left, func(other string) bool { return other == id })
		if err := r.node(id); err != nil {
			return err
		}
	}
	return nil
}

// needed lists the output nodes, and below them what has no cached result.
func (r *run) needed() []string {
	var ids []string
	var visit func(id string)
	visit = func(id string) {
		if slices.Contains(ids, id) {
			return
		}
		ids = append(ids, id)
		if r.cache.get(r.keys[id]) != nil {
			return
		}
		for _, link := range linksOf(r.p.workflow, id) {
			if r.cache.get(r.keys[link.node]) == nil {
				visit(link.node)
			}
		}
	}
	for _, id := range r.p.outputs {
		visit(id)
	}
	return ids
}

// pick chooses the next node as ComfyUI does for the eyes of its user: of
// those that are ready an output first, then what an output waits for.
func (r *run) pick(left []string) string {
	var ready []string
	for _, id := range r.p.workflow.keys {
		if slices.Contains(left, id) && !slices.ContainsFunc(linksOf(r.p.workflow, id), func(l link) bool {
			return slices.Contains(left, l.node)
		}) {
			ready = append(ready, id)
		}
	}
	if len(ready) == 0 {
		return ""
	}
	for _, id := range ready {
		if r.class(id).output {
			return id
		}
	}
	for _, id := range ready {
		if slices.ContainsFunc(left, func(other string) bool {
			return r.class(other).output && slices.ContainsFunc(linksOf(r.p.workflow, other), func(l link) bool { return l.node == id })
		}) {
			return id
		}
	}
	return ready[0]
}

func (r *run) class(id string) *class {
	name, _ := r.p.workflow.get(id).(*object).get("class_type").(string)
	return r.c.classes.byName[name]
}

// node runs one node, or repeats what the cache has of it.
func (r *run) node(id string) error {
	c := r.c
	if entry := r.cache.get(r.keys[id]); entry != nil {
		r.tell("executed", r.executedData(id, entry.ui), false)
		if entry.ui != nil {
			r.ui.set(id, entry.ui)
		}
		r.progress.finish(id)
		return nil
	}
	r.progress.start(id)
	if r.owner() != nil {
		c.mu.Lock()
		c.lastNode = id
		c.mu.Unlock()
		r.tell("executing", obj("node", id, "display_node", id, "prompt_id", r.p.id), false)
	}
	res, err := r.call(id)
	if err != nil {
		return r.fail(id, err)
	}
	r.cache.put(r.keys[id], res)
	if res.ui != nil {
		r.ui.set(id, res.ui)
		r.tell("executed", r.executedData(id, res.ui), false)
	}
	r.progress.finish(id)
	r.executed = append([]string{id}, r.executed...)
	return nil
}

func (r *run) executedData(id string, ui *object) *object {
	return obj("node", id, "display_node", id, "output", ui, "prompt_id", r.p.id)
}

// call gives the node its inputs and runs it.
func (r *run) call(id string) (*result, error) {
	if r.c.zombie.Load() {
		return nil, errWorkerGone
	}
	class := r.class(id)
	call := &call{run: r, c: r.c, id: id, class: class, in: obj()}
	inputs := r.p.workflow.get(id).(*object).get("inputs").(*object)
	for _, name := range inputs.keys {
		val := inputs.get(name)
		if l, ok := asLink(val); ok {
			val = r.cache.get(r.keys[l.node]).output(l.slot)
		}
		if b, ok := val.(blocker); ok {
			return r.block(call, b), nil
		}
		call.in.set(name, val)
	}
	if r.c.interrupted.Swap(false) {
		return nil, errInterrupted
	}
	r.c.ledger.note(func() { r.p.execution.Nodes = append(r.p.execution.Nodes, id) })
	if !r.c.sleep(r.c.ctx, r.c.cfg.NodeDelay) {
		return nil, errProcessEnded
	}
	res, err := class.run(call)
	if err == nil && r.c.ctx.Err() != nil {
		err = errProcessEnded
	}
	return res, err
}

// block answers for a node with a blocked input: the node does not run, its
// outputs are blocked too, and a message of the blocker is shown as an error
// although the prompt goes on to succeed.
func (r *run) block(call *call, b blocker) *result {
	if b.message != "" && call.class.output {
		r.tell("execution_error", obj(
			"prompt_id", r.p.id, "node_id", call.id, "node_type", call.class.name,
			"executed", list(r.executed),
			"exception_message", "Execution Blocked: "+b.message,
			"exception_type", "ExecutionBlocked",
			"traceback", []any{}, "current_inputs", []any{}, "current_outputs", []any{}), false)
	}
	res := &result{}
	for range call.class.returns {
		res.values = append(res.values, b)
	}
	return res
}

// fail tells that a node raised, and passes on what ends the run.
func (r *run) fail(id string, err error) error {
	class := r.class(id)
	switch {
	case errors.Is(err, errWorkerGone), errors.Is(err, errProcessEnded):
		return err
	case errors.Is(err, errInterrupted):
		r.c.log.info("Processing interrupted")
		r.message("execution_interrupted", obj("prompt_id", r.p.id, "node_id", id,
			"node_type", class.name, "executed", list(r.executed)), true)
		return err
	}
	var raised *exception
	if !errors.As(err, &raised) {
		raised = &exception{kind: "Exception", message: err.Error()}
	}
	r.c.log.error("!!! Exception during processing !!! %s", raised.message)
	r.c.log.error("Traceback (most recent call last):\n  File \"execution.py\", in execute\n%s: %s", raised.kind, raised.message)
	r.message("execution_error", obj(
		"prompt_id", r.p.id, "node_id", id, "node_type", class.name,
		"executed", list(r.executed),
		"exception_message", raised.message+raised.tail(),
		"exception_type", raised.kind,
		"traceback", []any{"  File \"execution.py\", in execute\n", fmt.Sprintf("  File \"nodes.py\", in %s\n", class.name)},
		"current_inputs", r.shownInputs(id),
		"current_outputs", list(r.p.workflow.keys)), false)
	return err
}

// shownInputs are the inputs as an error shows them: each in a list, hidden
// ones (API keys among them) included.
func (r *run) shownInputs(id string) *object {
	shown := obj()
	inputs, _ := r.p.workflow.get(id).(*object).get("inputs").(*object)
	for _, name := range inputs.clone().keys {
		val := inputs.get(name)
		if l, ok := asLink(val); ok {
			val = fmt.Sprint(r.cache.get(r.keys[l.node]).output(l.slot))
		}
		shown.set(name, []any{val})
	}
	if r.class(id).wantsKeys {
		for _, name := range secretNames {
			if v, ok := r.p.keys.get(name).(string); ok {
				shown.set(name, []any{v})
			}
		}
	}
	return shown
}
