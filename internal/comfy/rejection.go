package comfy

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Bounds of what a RejectedError keeps.
const (
	rejectedNodes  = 64
	allowedValues  = 20
	detailLimit    = 2 << 10
	receivedLimit  = 200
	rejectionLimit = 64 << 10 // of a text that is no JSON
)

// wireRejection is the answer to a workflow that ComfyUI does not accept.
type wireRejection struct {
	Error struct {
		wireProblem
		Info struct {
			NodeID string `json:"node_id"`
			Class  string `json:"class_type"`
		} `json:"extra_info"`
	} `json:"error"`
	NodeErrors wireNodeErrors `json:"node_errors"`
}

type wireProblem struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Details string `json:"details"`
}

// wireNodeErrors are the faults of nodes, by node.
type wireNodeErrors map[string]struct {
	Class  string          `json:"class_type"`
	Errors []wireNodeError `json:"errors"`
}

type wireNodeError struct {
	wireProblem
	Info struct {
		Input    string          `json:"input_name"`
		Config   json.RawMessage `json:"input_config"`
		Received json.RawMessage `json:"received_value"`
	} `json:"extra_info"`
}

// decodeRejection reads why ComfyUI refused a workflow. An answer that cannot be
// read is the message itself.
func decodeRejection(body []byte, g graph) *RejectedError {
	var wire wireRejection
	if decode(body, &wire) != nil || !isObject(body) {
		text := strings.ToValidUTF8(string(body[:min(len(body), rejectionLimit)]), "�")
		return &RejectedError{Message: cut(strings.TrimSpace(text), detailLimit)}
	}
	e := &RejectedError{
		Type:    cut(wire.Error.Type, receivedLimit),
		Message: cut(wire.Error.Message, detailLimit),
		Details: cut(wire.Error.Details, detailLimit),
	}
	for _, node := range slices.SortedFunc(maps.Keys(wire.NodeErrors), compareNodes) {
		faults := wire.NodeErrors[node]
		for _, fault := range faults.Errors {
			if len(e.Nodes) < rejectedNodes {
				e.Nodes = append(e.Nodes, fault.nodeError(node, cmp.Or(faults.Class, g[node])))
			}
		}
	}
	if len(e.Nodes) == 0 {
		e.blame(wire.Error.Info.NodeID, wire.Error.Info.Class, g)
	}
	return e
}

// blame names the node when ComfyUI does so only beside the list of nodes at
// fault: an unknown class is told with "Node ID '#7'" as the details.
func (e *RejectedError) blame(node, class string, g graph) {
	if rest, ok := strings.CutPrefix(e.Details, "Node ID '#"); ok && node == "" {
		node = strings.TrimSuffix(rest, "'")
	}
	if node == "" {
		return
	}
	e.Nodes = []NodeError{{
		Node: node, Class: cmp.Or(class, g[node]),
		Type: e.Type, Message: e.Message,
	}}
}

func (w wireNodeError) nodeError(node, class string) NodeError {
	n := NodeError{
		Node:     cut(node, receivedLimit),
		Class:    cut(class, receivedLimit),
		Type:     cut(w.Type, receivedLimit),
		Message:  cut(w.Message, detailLimit),
		Details:  cut(w.Details, detailLimit),
		Field:    cut(w.Info.Input, receivedLimit),
		Received: cut(string(w.Info.Received), receivedLimit),
	}
	if w.Type == "value_not_in_list" {
		n.Allowed, n.Choices = choices(w.Info.Config)
	}
	return n
}

// choices reads the allowed values out of the description of an input, whose
// first part is the list of them.
func choices(config json.RawMessage) (first []string, count int) {
	var parts, values []json.RawMessage
	if decode(config, &parts) != nil || len(parts) == 0 || !isList(parts[0]) {
		return nil, 0
	}
	_ = decode(parts[0], &values)
	for _, value := range values[:min(len(values), allowedValues)] {
		word := string(value)
		if s := text(value); s != "" {
			word = s
		}
		first = append(first, cut(word, receivedLimit))
	}
	return first, len(values)
}
