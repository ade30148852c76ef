package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/nodeinfo"
)

// A workflow is the graph that a job brings, in ComfyUI's API format: nodes by
// id. Values that are not looked at stay as the bytes that came.
type workflow map[string]node

type node struct {
	fields map[string]json.RawMessage // all but inputs
	inputs map[string]json.RawMessage
	class  string
	title  string
}

// parseWorkflow checks what can be checked cheaply. What a graph means is for
// ComfyUI to judge.
func parseWorkflow(raw json.RawMessage) (workflow, error) {
	if isNull(raw) {
		return nil, errors.New("input.workflow is missing: put the workflow there as ComfyUI's \"Export (API)\" writes it")
	}
	if bytes.TrimSpace(raw)[0] == '"' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("input.workflow is no JSON: %s", jsonFault(err))
		}
		raw = json.RawMessage(text)
		if err := checkShape(raw); err != nil {
			return nil, fmt.Errorf("input.workflow is a string that holds no workflow: %w", err)
		}
	}
	var nodes map[string]json.RawMessage
	if err := json.Unmarshal(raw, &nodes); err != nil {
		return nil, fmt.Errorf("input.workflow is not an object of nodes (%s)", jsonFault(err))
	}
	if isUIFormat(nodes) {
		return nil, errors.New("input.workflow is in the format of ComfyUI's editor: export it with \"Workflow > Export (API)\" and send that file")
	}
	if len(nodes) == 0 {
		return nil, errors.New("input.workflow has no nodes")
	}
	wf := make(workflow, len(nodes))
	for id, raw := range nodes {
		n, err := parseNode(raw)
		if err != nil {
			return nil, fmt.Errorf("node %q of input.workflow %w", id, err)
		}
		wf[id] = n
	}
	return wf, nil
}

// isUIFormat recognises the editor's own file: a list of nodes and one of links.
func isUIFormat(nodes map[string]json.RawMessage) bool {
	list, ok := nodes["nodes"]
	return ok && bytes.HasPrefix(bytes.TrimSpace(list), []byte("["))
}

func parseNode(raw json.RawMessage) (node, error) {
	var n node
	if err := json.Unmarshal(raw, &n.fields); err != nil || n.fields == nil {
		return node{}, errors.New("is not an object")
	}
	if json.Unmarshal(n.fields["class_type"], &n.class) != nil || n.class == "" {
		return node{}, errors.New("has no class_type")
	}
	if err := json.Unmarshal(orEmpty(n.fields["inputs"]), &n.inputs); err != nil || n.inputs == nil {
		return node{}, errors.New("has inputs that are not an object")
	}
	delete(n.fields, "inputs")
	var meta struct {
		Title string `json:"title"`
	}
	if json.Unmarshal(orEmpty(n.fields["_meta"]), &meta) == nil { // a title of another shape is no title
		n.title = meta.Title
	}
	return n, nil
}

func orEmpty(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("{}")
	}
	return raw
}

// nodes is the graph as it is compared with what ComfyUI says of its nodes.
func (wf workflow) nodes() map[string]nodeinfo.Node {
	nodes := make(map[string]nodeinfo.Node, len(wf))
	for id, n := range wf {
		nodes[id] = nodeinfo.Node{Class: n.class, Inputs: n.inputs}
	}
	return nodes
}

// text is the value of an input if it is a text, and else "".
func (wf workflow) text(node, field string) string {
	var value string
	if json.Unmarshal(wf[node].inputs[field], &value) != nil {
		return ""
	}
	return value
}

// forAttempt returns the graph as ComfyUI gets it: output names begin with
// folder, and inputs that name an uploaded file name what it is called there.
func (wf workflow) forAttempt(folder string, uploaded map[string]string) (json.RawMessage, error) {
	out := make(map[string]map[string]any, len(wf))
	for id, n := range wf {
		fields := make(map[string]any, len(n.fields)+1)
		for name, raw := range n.fields {
			fields[name] = raw
		}
		inputs := make(map[string]any, len(n.inputs))
		for name, raw := range n.inputs {
			inputs[name] = rewrite(name, raw, folder, uploaded)
		}
		fields["inputs"] = inputs
		out[id] = fields
	}
	return json.Marshal(out)
}

// rewrite returns the value of one input as ComfyUI gets it.
func rewrite(name string, raw json.RawMessage, folder string, uploaded map[string]string) any {
	if len(raw) == 0 || raw[0] != '"' {
		return raw
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return raw
	}
	if name == "filename_prefix" && staysInside(text) {
		return folder + "/" + text
	}
	if ref, ok := uploaded[strings.TrimSuffix(text, " [input]")]; ok {
		return ref
	}
	return raw
}

// staysInside tells whether a prefix can be put below a folder without leaving
// it. ComfyUI itself refuses the others, unless our folder made them lawful.
func staysInside(prefix string) bool {
	p := strings.ReplaceAll(prefix, "\\", "/")
	return !path.IsAbs(p) && !strings.HasPrefix(path.Clean(p)+"/", "../")
}
