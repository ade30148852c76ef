package worker

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
)

// nodeFault is one fault of a refused workflow, in the details of a failure.
type nodeFault struct {
	Node      string   `json:"node_id"`
	Class     string   `json:"class_type,omitempty"`
	Field     string   `json:"field,omitempty"`
	Type      string   `json:"type"`
	Message   string   `json:"message"`
	Received  string   `json:"received,omitempty"`
	Available []string `json:"available,omitempty"`
}

func refusedDetails(e *comfy.RejectedError) any {
	faults := make([]nodeFault, 0, len(e.Nodes))
	for _, n := range e.Nodes {
		faults = append(faults, nodeFault{
			Node: n.Node, Class: n.Class, Field: n.Field, Type: n.Type,
			Message:  strings.TrimSpace(n.Message + " " + n.Details),
			Received: n.Received, Available: n.Allowed,
		})
	}
	return faults
}

// refusedAdvice says what to do about a refused workflow: which models and
// values there are, where ComfyUI told.
func refusedAdvice(e *comfy.RejectedError) string {
	var lines []string
	told := make(map[string]bool)
	for _, n := range e.Nodes {
		if n.Choices == 0 || told[n.Class+"."+n.Field] {
			continue
		}
		told[n.Class+"."+n.Field] = true
		line := fmt.Sprintf("Available for %s: %s", n.Field, strings.Join(n.Allowed, ", "))
		if more := n.Choices - len(n.Allowed); more > 0 {
			line += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, line+".")
	}
	if len(lines) > 0 {
		return strings.Join(lines, " ")
	}
	return "Correct the workflow, or install the custom nodes and models that it needs."
}

// nodeDetail is the node that raised, in the details of a failure.
type nodeDetail struct {
	Node      string   `json:"node_id"`
	Class     string   `json:"class_type"`
	Exception string   `json:"exception_type"`
	Message   string   `json:"exception_message"`
	Traceback []string `json:"traceback,omitempty"`
}

func nodeDetails(e *comfy.NodeFailure) any {
	return nodeDetail{e.Node, e.Class, e.ExceptionType, e.Message, e.Traceback}
}

// restoreNames puts the job's own names back where a failure's text shows those
// that files have inside ComfyUI.
func (l *life) restoreNames() {
	var pairs []string
	for _, a := range l.tried {
		pairs = append(pairs, a.folder+"/", "")
		for name, ref := range a.inputs {
			pairs = append(pairs, ref, name)
		}
	}
	names := strings.NewReplacer(pairs...)
	l.failure.Message = names.Replace(l.failure.Message)
	if faults, ok := l.failure.Details.([]nodeFault); ok {
		for i := range faults {
			faults[i].Message = names.Replace(faults[i].Message)
			faults[i].Received = names.Replace(faults[i].Received)
		}
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
