package comfytest

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// A class is one entry of the node table that /object_info shows.
type class struct {
	name      string
	title     string
	category  string
	inputs    []input
	returns   []string // types of the outputs
	output    bool     // an output node: prompts are made of what these need
	wantsKeys bool     // has the API keys as hidden inputs
	shown     encoded  // what info returns, nil if that depends on the incarnation

	// run does the node's work. It returns an exception, errInterrupted or
	// errWorkerGone if it does not end well.
	run func(*call) (*result, error)
	// check is the node's own validation: the input at fault and why, or "".
	check func(*Comfy, *object) (in, problem string)
	// changed tells what else than the inputs makes the node run anew.
	changed func(c *Comfy, inputs *object) any
}

// An input is one named parameter of a class.
type input struct {
	name     string
	kind     string // INT, FLOAT, STRING, BOOLEAN, COMBO, or a type of link
	optional bool
	list     []string              // of a COMBO
	from     func(*Comfy) []string // the list, if it is found at run time
	options  *object
}

// choices is the list of a COMBO.
func (in *input) choices(c *Comfy) []string {
	if in.from != nil {
		return in.from(c)
	}
	return in.list
}

// config is the input as /object_info and errors show it.
func (in *input) config(c *Comfy) []any {
	options := in.options
	if options == nil {
		options = obj()
	}
	if in.kind == "COMBO" {
		return []any{list(in.choices(c)), options}
	}
	return []any{in.kind, options}
}

// info is the class as /object_info shows it.
func (k *class) info(c *Comfy) *object {
	required, optional := obj(), obj()
	for i := range k.inputs {
		in := &k.inputs[i]
		if in.optional {
			optional.set(in.name, in.config(c))
		} else {
			required.set(in.name, in.config(c))
		}
	}
	inputs := obj("required", required)
	order := obj("required", list(required.keys))
	if len(optional.keys) > 0 {
		inputs.set("optional", optional)
		order.set("optional", list(optional.keys))
	}
	title := k.title
	if title == "" {
		title = k.name
	}
	return obj("input", inputs, "input_order", order,
		"output", list(k.returns), "output_is_list", list(make([]bool, len(k.returns))),
		"output_name", list(k.returns), "name", k.name, "display_name", title,
		"description", "", "python_module", "nodes", "category", k.category, "output_node", k.output)
}

// A classTable is the node table of a generation. All incarnations share it, and
// nothing in it changes.
type classTable struct {
	byName map[string]*class
	names  []string
}

var (
	olderClasses = sync.OnceValue(func() *classTable { return newClassTable(generation{}) })
	newerClasses = sync.OnceValue(func() *classTable { return newClassTable(generation{newNodes: true}) })
)

func newClassTable(gen generation) *classTable {
	t := &classTable{byName: make(map[string]*class)}
	for _, group := range [][]class{
		samplingClasses(), imageClasses(gen), saveClasses(gen), mediaClasses(gen), textClasses(gen), simClasses(), simDeathClasses(),
	} {
		for _, k := range group {
			if !slices.ContainsFunc(k.inputs, func(in input) bool { return in.from != nil }) {
				k.shown, _ = encode(k.info(nil))
			}
			t.byName[k.name] = &k
			t.names = append(t.names, k.name)
		}
	}
	slices.Sort(t.names)
	return t
}

// classes is the node table of a generation.
func (g generation) classes() *classTable {
	if g.newNodes {
		return newerClasses()
	}
	return olderClasses()
}

func (c *Comfy) getObjectInfo(w http.ResponseWriter, r *http.Request) {
	all := obj()
	for _, name := range c.classes.names {
		if only := r.PathValue("class"); only == "" || only == name {
			k := c.classes.byName[name]
			if k.shown != nil {
				all.set(name, k.shown)
			} else {
				all.set(name, k.info(c))
			}
		}
	}
	c.answer(w, http.StatusOK, all)
}

// A call is one execution of a node, with its inputs resolved.
type call struct {
	run   *run
	c     *Comfy
	id    string
	class *class
	in    *object
}

// A result is what a node returned: its outputs, and what it shows.
type result struct {
	values []any
	ui     *object
}

// output returns the value in a slot, nil if there is none.
func (r *result) output(slot int) any {
	if r == nil || slot < 0 || slot >= len(r.values) {
		return nil
	}
	return r.values[slot]
}

func returns(values ...any) (*result, error) { return &result{values: values}, nil }

func shows(pairs ...any) (*result, error) { return &result{ui: obj(pairs...)}, nil }

// A blocker in place of a value keeps what needs the value from running.
type blocker struct{ message string }

// An exception is a Python exception that a node raises.
type exception struct{ kind, message string }

func (e *exception) Error() string { return e.kind + ": " + e.message }

// tail is what ComfyUI appends to the message of an exception.
func (e *exception) tail() string {
	if e.kind != "torch.OutOfMemoryError" {
		return "\n"
	}
	return "\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
}

func (k *call) int(name string, otherwise int) int {
	if n, ok := toInt(k.in.get(name)); ok {
		return int(n)
	}
	return otherwise
}

func (k *call) float(name string, otherwise float64) float64 {
	if f, ok := toFloat(k.in.get(name)); ok {
		return f
	}
	return otherwise
}

func (k *call) text(name string) string {
	s, _ := k.in.get(name).(string)
	return s
}

func (k *call) flag(name string) bool { return pyBool(k.in.get(name)) }

func (k *call) picture(name string) (*picture, error) {
	if p, ok := k.in.get(name).(*picture); ok {
		return p, nil
	}
	return nil, &exception{"AttributeError", fmt.Sprintf("'NoneType' object has no attribute 'shape' (%s)", name)}
}

// poll looks whether an interrupt is asked for, as sampler steps do.
func (k *call) poll() error {
	switch {
	case k.c.ctx.Err() != nil:
		return errProcessEnded
	case k.c.zombie.Load():
		return errWorkerGone
	case k.c.interrupted.Swap(false):
		return errInterrupted
	}
	return nil
}

// Builders of inputs.

func intIn(name string, preset, low, high int) input {
	return input{name: name, kind: "INT", options: obj("default", preset, "min", low, "max", high)}
}

func seedIn() input {
	return input{name: "seed", kind: "INT", options: obj("default", 0, "min", 0, "max", seedMax)}
}

func floatIn(name string, preset, low, high float64) input {
	return input{name: name, kind: "FLOAT", options: obj("default", preset, "min", low, "max", high)}
}

func textIn(name, preset string) input {
	return input{name: name, kind: "STRING", options: obj("default", preset)}
}

func boolIn(name string, preset bool) input {
	return input{name: name, kind: "BOOLEAN", options: obj("default", preset)}
}

func comboIn(name string, choices ...string) input {
	return input{name: name, kind: "COMBO", list: choices}
}

func linkIn(name, kind string) input { return input{name: name, kind: kind, options: obj()} }

func (in input) maybe() input {
	in.optional = true
	return in
}
