package comfytest

import (
	"fmt"
	"slices"
	"strings"
)

// input validates one input of a node. What Python would raise outside of
// its own exception handlers is returned.
func (v *validation) input(d *verdict, class *class, in *input, inputs *object) *pyException {
	if !inputs.has(in.name) {
		if !in.optional {
			d.errors = append(d.errors, validationError("required_input_missing",
				"Required input is missing", in.name, "input_name", in.name))
		}
		return nil
	}
	val := inputs.get(in.name)
	if l, ok := val.([]any); ok {
		return v.linked(d, in, l)
	}
	val, raised := in.convert(val)
	if raised != "" {
		received := inputs.get(in.name)
		d.errors = append(d.errors, validationError("invalid_input_type",
			fmt.Sprintf("Failed to convert an input value to a %s value", in.kind),
			fmt.Sprintf("%s, %s, %s", in.name, pyStr(received), raised),
			"input_name", in.name, "input_config", in.config(v.c), "received_value", received, "exception_message", raised))
		return nil
	}
	inputs.set(in.name, val)
	if class.check == nil {
		v.ranged(d, in, val)
	}
	return nil
}

// linked validates a link and the node at its other end.
func (v *validation) linked(d *verdict, in *input, l []any) *pyException {
	if len(l) != 2 {
		d.errors = append(d.errors, validationError("bad_linked_input",
			"Bad linked input, must be a length-2 list of [node_id, slot_index]", in.name,
			"input_name", in.name, "input_config", in.config(v.c), "received_value", l))
		return nil
	}
	id, _ := l[0].(string)
	source, ok := v.workflow.get(id).(*object)
	if !ok {
		return &pyException{"KeyError", pyRepr(l[0])}
	}
	slot, ok := toInt(l[1])
	if !ok {
		return &pyException{"TypeError", "tuple indices must be integers or slices, not str"}
	}
	name, _ := source.get("class_type").(string)
	returns := v.c.classes.byName[name].returns
	if slot < 0 || int(slot) >= len(returns) {
		return &pyException{"IndexError", "tuple index out of range"}
	}
	if got := returns[slot]; !accepts(in.kind, got) {
		d.errors = append(d.errors, validationError("return_type_mismatch",
			"Return type mismatch between linked nodes",
			fmt.Sprintf("%s, received_type(%s) mismatch input_type(%s)", in.name, got, in.kind),
			"input_name", in.name, "input_config", in.config(v.c), "received_type", got, "linked_node", l))
		return nil
	}
	ok, raised := v.node(id)
	if raised != nil {
		v.decide(id, &verdict{errors: []*object{validationError("exception_during_inner_validation",
			"Exception when validating inner node", raised.text,
			"input_name", in.name, "input_config", in.config(v.c),
			"exception_message", raised.text, "exception_type", raised.kind,
			"traceback", []any{"  File \"execution.py\", in validate_inputs\n"}, "linked_node", l)}})
	}
	if !ok {
		d.valid = false
	}
	return nil
}

// accepts tells whether an output of type got may go into an input of type
// want. Either may be * or a list of types.
func accepts(want, got string) bool {
	if want == "*" || got == "*" || want == got {
		return true
	}
	wants := strings.Split(want, ",")
	return !slices.ContainsFunc(strings.Split(got, ","), func(g string) bool { return !slices.Contains(wants, g) })
}

// ranged checks a value against its limits and its list.
func (v *validation) ranged(d *verdict, in *input, val any) {
	add := func(kind, message, details string, config any) {
		d.errors = append(d.errors, validationError(kind, message, details,
			"input_name", in.name, "input_config", config, "received_value", val))
	}
	if n, ok := toFloat(val); ok && in.kind != "COMBO" {
		if low, ok := toFloat(in.options.get("min")); ok && n < low {
			add("value_smaller_than_min", fmt.Sprintf("Value %s smaller than min of %s", pyStr(val), pyStr(in.options.get("min"))), in.name, in.config(v.c))
			return
		}
		if high, ok := toFloat(in.options.get("max")); ok && n > high {
			add("value_bigger_than_max", fmt.Sprintf("Value %s bigger than max of %s", pyStr(val), pyStr(in.options.get("max"))), in.name, in.config(v.c))
			return
		}
	}
	if in.kind != "COMBO" {
		return
	}
	choices := in.choices(v.c)
	if s, ok := val.(string); ok && slices.Contains(choices, s) {
		return
	}
	shown, config := pyRepr(list(choices)), in.config(v.c)
	if len(choices) > 20 {
		shown, config = fmt.Sprintf("(list of length %d)", len(choices)), nil
	}
	add("value_not_in_list", "Value not in list", fmt.Sprintf("%s: '%s' not in %s", in.name, pyStr(val), shown), config)
}

// convert turns a value into the input's type as Python's constructors do.
// The second result is the text of the exception, if it cannot.
func (in *input) convert(val any) (any, string) {
	switch in.kind {
	case "INT":
		return pyInt(val)
	case "FLOAT":
		return pyFloat(val)
	case "STRING":
		return pyStr(val), ""
	case "BOOLEAN":
		return pyBool(val), ""
	}
	return val, ""
}
