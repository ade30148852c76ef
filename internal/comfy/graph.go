package comfy

import (
	"encoding/json"
	"strings"
)

// A graph is what a run needs to know of its workflow: the class of each node.
type graph map[string]string

// newGraph reads the classes of a workflow. ComfyUI judges workflows, so here
// anything passes.
func newGraph(workflow json.RawMessage) graph {
	var nodes map[string]struct {
		Class string `json:"class_type"`
	}
	_ = json.Unmarshal(workflow, &nodes)
	g := make(graph, len(nodes))
	for id, n := range nodes {
		g[id] = n.Class
	}
	return g
}

// owner returns the node of the workflow that node belongs to. Nodes that a
// node expands into are called like 2.0.0.7, after the node 2.
func (g graph) owner(node string) string {
	if _, ok := g[node]; ok {
		return node
	}
	if first, _, inner := strings.Cut(node, "."); inner {
		return first
	}
	return node
}

// sendsFrames tells whether the binary frames of node are outputs, not previews.
func (g graph) sendsFrames(node string) bool {
	return g[g.owner(node)] == "SaveImageWebsocket"
}

// anySendsFrames tells whether a node of the workflow does.
func (g graph) anySendsFrames() bool {
	for node := range g {
		if g.sendsFrames(node) {
			return true
		}
	}
	return false
}
