package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Bounds of what nodes report beside files.
const (
	maxNodeValues = 256 << 10 // bytes of JSON of one node
	maxValues     = 4 << 20   // of all nodes
)

// capValues returns the values that are small enough for a result, and a warning
// for each node whose values are not.
func capValues(values map[string]json.RawMessage) (kept map[string]json.RawMessage, warnings []string) {
	left := maxValues
	for _, node := range slices.Sorted(maps.Keys(values)) {
		size := len(values[node])
		if size > min(left, maxNodeValues) {
			warnings = append(warnings, fmt.Sprintf("the values of node %s are left out: they have %d bytes, and at most %d of a node and %d of a job are returned; save them to a file",
				clip(node), size, maxNodeValues, maxValues))
			continue
		}
		left -= size
		if kept == nil {
			kept = make(map[string]json.RawMessage)
		}
		kept[node] = values[node]
	}
	if cut := len(warnings) - nodesNamed; cut > 0 {
		warnings = append(warnings[:nodesNamed], fmt.Sprintf("the values of %d more nodes are left out", cut))
	}
	return kept, warnings
}
