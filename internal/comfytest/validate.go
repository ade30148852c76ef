package comfytest

import (
	"fmt"
	"slices"
	"strings"
)

// A validation checks a workflow against the node table, output by output,
// in the way and with the words of ComfyUI.
type validation struct {
	c        *Comfy
	workflow *object
	targets  []string // partial_execution_targets, nil for all

	verdicts   map[string]*verdict
	order      []string // node ids in the order of their verdicts
	path       []string // nodes being validated, to find cycles
	nodeErrors *object
	crashed    bool
}

type verdict struct {
	valid  bool
	errors []*object
}

// A pyException is what Python would have raised during the validation.
type pyException struct{ kind, text string }

func newValidation(c *Comfy, workflow *object, targets any) *validation {
	v := &validation{c: c, workflow: workflow, verdicts: make(map[string]*verdict), nodeErrors: obj()}
	if l, ok := targets.([]any); ok {
		v.targets = []string{}
		for _, t := range l {
			v.targets = append(v.targets, pyStr(t))
		}
	}
	return v
}

// prompt returns the outputs that are valid, or why the whole is refused, or
// that ComfyUI would have crashed over it with a 500.
func (v *validation) prompt() (good []string, refused *object, crashed bool) {
	outputs, refused, crashed := v.outputs()
	if refused != nil || crashed {
		return nil, refused, crashed
	}
	if len(outputs) == 0 {
		return nil, refusal("prompt_no_outputs", "Prompt has no outputs", ""), false
	}
	var details []string
	for _, id := range outputs {
		ok, raised := v.node(id)
		if raised != nil {
			v.decide(id, &verdict{errors: []*object{validationError("exception_during_validation",
				"Exception when validating node", raised.text,
				"exception_type", raised.kind, "traceback", []any{"  File \"execution.py\", in validate_prompt\n"})}})
			ok = false
		}
		if v.crashed {
			return nil, nil, true
		}
		if ok {
			good = append(good, id)
			continue
		}
		for _, e := range v.verdicts[id].errors {
			details = append(details, fmt.Sprintf("%v: %v", e.get("message"), e.get("details")))
		}
		v.blame(id)
	}
	if len(good) == 0 {
		return nil, refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation", strings.Join(details, "\n")), false
	}
	return good, nil, false
}

// outputs lists the output nodes; a node that has no known class is refused.
func (v *validation) outputs() (ids []string, refused *object, crashed bool) {
	for _, id := range v.workflow.keys {
		node, ok := v.workflow.get(id).(*object)
		if !ok {
			return nil, nil, true
		}
		name, _ := node.get("class_type").(string)
		class := v.c.classes.byName[name]
		if class == nil {
			return nil, v.noClass(id, node), false
		}
		if inputs, ok := node.get("inputs").(*object); !ok && node.has("inputs") && inputs == nil && v.c.gen.nullInputs500 {
			return nil, nil, true
		}
		if class.output && (v.targets == nil || slices.Contains(v.targets, id)) {
			ids = append(ids, id)
		}
	}
	return ids, nil, false
}

func (v *validation) noClass(id string, node *object) *object {
	details := fmt.Sprintf("Node ID '#%s'", id)
	name, has := node.get("class_type").(string)
	if !v.c.gen.missingNodeType {
		if !has {
			return refusal("invalid_prompt", "Cannot execute because a node is missing the class_type property.", details)
		}
		return refusal("invalid_prompt", fmt.Sprintf("Cannot execute because node %s does not exist.", name), details)
	}
	if !has {
		return refusal("missing_node_type",
			fmt.Sprintf("Node 'ID #%s' has no class_type. The workflow may be corrupted or a custom node is missing.", id),
			details, "node_id", id, "class_type", nil, "node_title", nil)
	}
	title := name
	if meta, ok := node.get("_meta").(*object); ok {
		if t, ok := meta.get("title").(string); ok {
			title = t
		}
	}
	return refusal("missing_node_type",
		fmt.Sprintf("Node '%s' not found. The custom node may not be installed.", title),
		details, "node_id", id, "class_type", name, "node_title", title)
}

func (v *validation) decide(id string, d *verdict) {
	if _, ok := v.verdicts[id]; !ok {
		v.order = append(v.order, id)
	}
	v.verdicts[id] = d
}

// blame adds the errors that keep the output from running to the answer.
// Nodes that are invalid only because of what is above them are left out.
func (v *validation) blame(output string) {
	v.c.log.error("Failed to validate prompt for output %s:", output)
	for _, id := range v.order {
		d := v.verdicts[id]
		if d.valid || len(d.errors) == 0 {
			continue
		}
		if !v.nodeErrors.has(id) {
			name, _ := v.workflow.get(id).(*object).get("class_type").(string)
			v.nodeErrors.set(id, obj("errors", list(d.errors), "dependent_outputs", []any{}, "class_type", name))
			v.c.log.error("* %s %s:", name, id)
			for _, e := range d.errors {
				v.c.log.error("  - %v: %v", e.get("message"), e.get("details"))
			}
		}
		entry := v.nodeErrors.get(id).(*object)
		entry.set("dependent_outputs", append(entry.get("dependent_outputs").([]any), output))
	}
	v.c.log.error("Output will be ignored")
}

func validationError(kind, message, details string, extra ...any) *object {
	return obj("type", kind, "message", message, "details", details, "extra_info", obj(extra...))
}

// node validates one node and what it is linked to.
func (v *validation) node(id string) (bool, *pyException) {
	if d, ok := v.verdicts[id]; ok {
		return d.valid, nil
	}
	if slices.Contains(v.path, id) {
		v.cycle(id)
		return false, nil
	}
	v.path = append(v.path, id)
	defer func() { v.path = v.path[:len(v.path)-1] }()

	node := v.workflow.get(id).(*object)
	if !node.has("inputs") {
		return false, &pyException{"KeyError", "'inputs'"}
	}
	inputs, ok := node.get("inputs").(*object)
	if !ok {
		return false, &pyException{"TypeError", "argument of type 'NoneType' is not a container or iterable"}
	}
	name, _ := node.get("class_type").(string)
	class := v.c.classes.byName[name]
	d := &verdict{valid: true}
	for i := range class.inputs {
		if raised := v.input(d, class, &class.inputs[i], inputs); raised != nil {
			return false, raised
		}
	}
	if class.check != nil && len(d.errors) == 0 {
		if in, problem := class.check(v.c, inputs); problem != "" {
			d.errors = append(d.errors, validationError("custom_validation_failed",
				"Custom validation failed for node", in+" - "+problem, "input_name", in))
		}
	}
	if old, ok := v.verdicts[id]; ok { // a cycle came back to this node
		d.errors = append(old.errors, d.errors...)
		d.valid = false
	}
	d.valid = d.valid && len(d.errors) == 0
	v.decide(id, d)
	return d.valid, nil
}

// cycle marks the nodes of a cycle that closes at id. The older generation
// runs into its recursion limit and reports nothing.
func (v *validation) cycle(id string) {
	nodes := v.path[slices.Index(v.path, id):]
	if !v.c.gen.cycleErrors {
		for _, n := range nodes {
			v.decide(n, &verdict{})
		}
		return
	}
	var names []string
	for _, n := range append(slices.Clone(nodes), id) {
		class, _ := v.workflow.get(n).(*object).get("class_type").(string)
		names = append(names, fmt.Sprintf("%s (%s)", n, class))
	}
	for _, n := range nodes {
		v.decide(n, &verdict{errors: []*object{validationError("dependency_cycle", "Dependency cycle detected",
			strings.Join(names, " -> "), "node_id", n, "cycle_nodes", list(slices.Clone(nodes)))}})
	}
}
