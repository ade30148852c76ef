package worker

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
)

// nodeFault is one fault of a refused workflow, in the details of a failure.
type nodeFault struct {
	Node       string   `json:"node_id"`
	Title      string   `json:"title,omitempty"`
	Class      string   `json:"class_type,omitempty"`
	Field      string   `json:"field,omitempty"`
	Type       string   `json:"type"`
	Message    string   `json:"message"`
	Received   string   `json:"received,omitempty"`
	DidYouMean []string `json:"did_you_mean,omitempty"`
	Available  []string `json:"available,omitempty"`

	choices int // how many are available in all
}

// refusedAdvice says what to do about a refused workflow: what may have been
// meant, and which models and values there are.
func refusedAdvice(faults []nodeFault) string {
	var lines []string
	told := make(map[string]bool)
	tell := func(line string) {
		if !told[line] {
			told[line] = true
			lines = append(lines, line)
		}
	}
	for _, f := range faults {
		if len(f.DidYouMean) > 0 {
			tell(fmt.Sprintf("Did you mean %s for %s?", orList(f.DidYouMean), cmp.Or(f.Field, f.Class)))
		}
	}
	for _, f := range faults {
		switch {
		case f.choices > 0:
			line := fmt.Sprintf("Available for %s: %s", f.Field, strings.Join(f.Available, ", "))
			if more := f.choices - len(f.Available); more > 0 {
				line += fmt.Sprintf(" and %d more", more)
			}
			tell(line + ".")
		case f.Type == typeNoClass || f.Type == typeNoClass0:
			tell("Install the custom nodes that are missing; if they are installed, ComfyUI's log tells at its start why their import failed.")
		}
	}
	if len(lines) == 0 {
		return "Correct the workflow, or install the custom nodes and models that it needs."
	}
	return strings.Join(lines, " ")
}

// orList is names as a sentence lists them: "a", "b" or "c".
func orList(names []string) string {
	quoted := make([]string, 0, len(names))
	for _, name := range names {
		quoted = append(quoted, strconv.Quote(name))
	}
	last := len(quoted) - 1
	if last == 0 {
		return quoted[0]
	}
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
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
