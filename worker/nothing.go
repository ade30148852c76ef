package worker

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/nodeinfo"
)

// Bounds of what is said of a workflow that saves nothing.
const (
	nodesNamed = 5
	typeNoSave = "prompt_no_outputs" // ComfyUI's word for a workflow without output nodes
)

// saveAdvice is what to do about a workflow that saves nothing.
const saveAdvice = "Add a node that saves, such as SaveImage, SaveVideo or SaveAudio."

// nothingSaved says why a workflow that ran has no files to deliver, "" if what
// it has are values, which may be all that was wanted.
func nothingSaved(wf workflow, info *nodeinfo.Info, made *comfy.Outcome) string {
	var shown []string
	for _, o := range made.Outputs {
		if name := wf.named(o.Node); o.Type == "temp" && !slices.Contains(shown, name) {
			shown = append(shown, name)
		}
	}
	if len(shown) > 0 {
		return fmt.Sprintf("the workflow ran and saved no files: %s made previews only. %s Or set input.output.previews to true to get the previews.",
			someOf(shown), saveAdvice)
	}
	if len(made.Values) > 0 {
		return ""
	}
	var outputs []string
	for _, id := range slices.Sorted(maps.Keys(wf)) {
		if info.IsOutput(wf[id].class) {
			outputs = append(outputs, wf.named(id))
		}
	}
	if len(outputs) == 0 {
		return "the workflow ran and saved no files. " + saveAdvice
	}
	return fmt.Sprintf("the workflow ran and saved no files: of its nodes, ComfyUI ran it for %s. %s", someOf(outputs), saveAdvice)
}

// wouldSaveNothing says why ComfyUI refuses a workflow without output nodes.
func (wf workflow) wouldSaveNothing() string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(wf)) {
		all = append(all, wf.named(id))
	}
	return fmt.Sprintf("ComfyUI refuses the workflow because nothing in it is saved or shown: its nodes are %s", someOf(all))
}

// named is a node as people know it.
func (wf workflow) named(id string) string {
	n := wf[id]
	if n.title != "" && n.title != n.class {
		return fmt.Sprintf("%s (%s, %q)", clip(id), clip(n.class), clip(n.title))
	}
	return fmt.Sprintf("%s (%s)", clip(id), clip(n.class))
}

// someOf is a list of names, cut to a few.
func someOf(names []string) string {
	text := strings.Join(names[:min(len(names), nodesNamed)], ", ")
	if more := len(names) - nodesNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
