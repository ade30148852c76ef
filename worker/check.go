package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/nodeinfo"
)

// ComfyUI's words for the two faults that are found without asking it. Before
// 0.12 a missing class is an invalid_prompt.
const (
	typeNoClass   = "missing_node_type"
	typeNoClass0  = "invalid_prompt"
	typeNotInList = "value_not_in_list"
)

// Bounds of what a failure tells.
const (
	faultsTold   = 64 // in the details, and looked at
	faultsNamed  = 5  // in the message
	faultsHelped = 8  // different ones, with guesses at what was meant
	valuesTold   = 20 // of a list
)

// guessWait is how long a job that was refused waits for the list of nodes, out
// of which it is told what may have been meant.
const guessWait = 250 * time.Millisecond

// invalidError says why a workflow cannot be run, and what may have been meant.
type invalidError struct {
	text   string
	faults []nodeFault
	advice string // "" for what the faults make advisable
}

func (e *invalidError) Error() string { return e.text }

// check refuses a workflow that ComfyUI is bound to refuse, before anything is
// sent. Where that is not certain, the list of nodes not known yet, or ComfyUI
// too busy to be asked once more, it finds nothing.
func (l *life) check(ctx context.Context, wf workflow) error {
	nodes := wf.nodes()
	info := l.slot.known()
	faults := info.Check(nodes)
	if len(faults) == 0 {
		return nil
	}
	faults = faults[:min(len(faults), faultsTold)]
	info, err := l.slot.renew(ctx, info, faults)
	if err != nil {
		l.log.Debug("workflow left to ComfyUI's judgement", zap.Error(err))
		return nil
	}
	still := info.Check(nodes)
	faults = slices.DeleteFunc(faults, func(f nodeinfo.Fault) bool { return !slices.Contains(still, f) })
	if len(faults) == 0 {
		return nil
	}
	refused := make([]comfy.NodeError, 0, len(faults))
	for _, f := range faults {
		refused = append(refused, asComfyUI(f, wf[f.Node].title, info))
	}
	return &invalidError{text: wouldRefuse(refused), faults: wf.faults(refused, info)}
}

// wouldRefuse is the sentence about a refusal that ComfyUI was spared.
func wouldRefuse(refused []comfy.NodeError) string {
	var text strings.Builder
	text.WriteString("ComfyUI would refuse the workflow: ")
	for i, n := range refused[:min(len(refused), faultsNamed)] {
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(n.String())
	}
	if more := len(refused) - faultsNamed; more > 0 {
		fmt.Fprintf(&text, "; and %d more", more)
	}
	return text.String()
}

// asComfyUI says of a fault what ComfyUI would.
func asComfyUI(f nodeinfo.Fault, title string, info *nodeinfo.Info) comfy.NodeError {
	n := comfy.NodeError{Node: clip(f.Node), Class: clip(f.Class), Field: f.Field}
	if f.Field == "" {
		n.Type = typeNoClass
		n.Message = fmt.Sprintf("Node '%s' not found. The custom node may not be installed.", clip(cmp.Or(title, f.Class)))
		return n
	}
	list := info.Values(f.Class, f.Field)
	n.Type, n.Message = typeNotInList, "Value not in list"
	n.Details = fmt.Sprintf("%s: '%s' not in (list of length %d)", f.Field, clip(f.Value), len(list))
	n.Received = strconv.Quote(clip(f.Value))
	n.Allowed, n.Choices = list[:min(len(list), valuesTold)], len(list)
	return n
}

// clip shortens what the job's author wrote to what ComfyUI's words are cut to.
func clip(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// explain adds to a refusal by ComfyUI what may have been meant.
func (l *life) explain(ctx context.Context, wf workflow, err error) error {
	var refused *comfy.RejectedError
	if !errors.As(err, &refused) {
		return err
	}
	if refused.Type == typeNoSave {
		return &invalidError{text: wf.wouldSaveNothing(), advice: saveAdvice}
	}
	info := l.slot.knownSoon(ctx, guessWait)
	return &invalidError{text: refused.Error(), faults: wf.faults(refused.Nodes, info)}
}

// faults are the nodes at fault with their titles, and with guesses where there
// are any.
func (wf workflow) faults(refused []comfy.NodeError, info *nodeinfo.Info) []nodeFault {
	faults := make([]nodeFault, 0, len(refused))
	guessed := make(map[string][]string)
	for _, n := range refused {
		f := nodeFault{
			Node: n.Node, Title: clip(cmp.Or(wf[n.Node].title, info.Title(n.Class))), Class: n.Class, Field: n.Field,
			Type: n.Type, Message: strings.TrimSpace(n.Message + " " + n.Details),
			Received: n.Received, Available: n.Allowed, choices: n.Choices,
		}
		what := n.Class + "\x00" + n.Field + "\x00" + wf.text(n.Node, n.Field)
		if _, ok := guessed[what]; !ok && len(guessed) < faultsHelped {
			guessed[what] = wf.guesses(n, info)
		}
		f.DidYouMean = guessed[what]
		faults = append(faults, f)
	}
	return faults
}

// guesses are what the author may have meant.
func (wf workflow) guesses(n comfy.NodeError, info *nodeinfo.Info) []string {
	switch n.Type {
	case typeNoClass, typeNoClass0:
		return info.NearClasses(n.Class)
	case typeNotInList:
		value := wf.text(n.Node, n.Field)
		if list := info.Values(n.Class, n.Field); list != nil {
			return nodeinfo.Near(value, list)
		}
		return nodeinfo.Near(value, n.Allowed)
	}
	return nil
}
