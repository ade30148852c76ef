package nodeinfo

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Node is a node of a workflow in ComfyUI's API format.
type Node struct {
	Class  string
	Inputs map[string]json.RawMessage
}

// A Fault is why ComfyUI refuses a workflow.
type Fault struct {
	// Node is its id in the workflow.
	Node, Class string
	// Field and Value are the input at fault, both "" if it is the class that
	// does not exist.
	Field, Value string
}

// Check returns why ComfyUI is bound to refuse the nodes, ordered by node and
// field; nothing does not mean that it takes them.
func (i *Info) Check(nodes map[string]Node) []Fault {
	if i == nil {
		return nil
	}
	var faults []Fault
	for id, n := range nodes {
		if _, exists := i.classes[n.Class]; !exists && !i.spared[n.Class] {
			faults = append(faults, Fault{Node: id, Class: n.Class})
		}
	}
	for id := range i.validated(nodes) {
		faults = append(faults, i.values(id, nodes[id])...)
	}
	slices.SortFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(len(a.Node), len(b.Node)), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Field, b.Field))
	})
	return faults
}

// validated are the nodes that ComfyUI validates: outputs, and what they are
// linked to through inputs that their classes declare.
func (i *Info) validated(nodes map[string]Node) map[string]bool {
	seen := make(map[string]bool)
	var left []string
	for id, n := range nodes {
		if i.classes[n.Class].output {
			left = append(left, id)
		}
	}
	for len(left) > 0 {
		id := left[len(left)-1]
		left = left[:len(left)-1]
		n, exists := nodes[id]
		if seen[id] || !exists {
			continue
		}
		seen[id] = true
		for field, value := range n.Inputs {
			if _, declared := i.classes[n.Class].inputs[field]; declared {
				if source, ok := link(value); ok {
					left = append(left, source)
				}
			}
		}
	}
	return seen
}

// link returns the node that an input is linked to.
func link(value json.RawMessage) (node string, ok bool) {
	if len(value) == 0 || value[0] != '[' {
		return "", false
	}
	var parts []json.RawMessage
	if json.Unmarshal(value, &parts) != nil || len(parts) != 2 {
		return "", false
	}
	return text(parts[0])
}

// text returns the value of a JSON string. One with half a surrogate pair is
// none: Go and Python do not read it alike.
func text(value json.RawMessage) (string, bool) {
	var s string
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return "", false
	}
	return s, !strings.ContainsRune(s, utf8.RuneError)
}

// values checks a node's values against the lists of its class.
func (i *Info) values(id string, n Node) []Fault {
	c := i.classes[n.Class]
	if !c.enforced {
		return nil
	}
	var faults []Fault
	for field, raw := range n.Inputs {
		list := c.inputs[field]
		if value, ok := text(raw); ok && list != nil && !slices.Contains(list, value) {
			faults = append(faults, Fault{Node: id, Class: n.Class, Field: field, Value: value})
		}
	}
	return faults
}
