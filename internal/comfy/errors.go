package comfy

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrStillRuns tells that ComfyUI did not let go of a prompt that was canceled.
	ErrStillRuns = errors.New("it is still running")
	// ErrUnsure tells that there was no time to see a prompt end that was canceled:
	// ComfyUI has begun to answer only just now.
	ErrUnsure = errors.New("there was no time to see it end")
	// ErrInterrupted tells that the prompt was interrupted before it was done.
	ErrInterrupted = errors.New("ComfyUI interrupted the prompt")
	// ErrHistoryMissing tells that ComfyUI announced the end of the prompt, yet
	// its history did not have it within five seconds. The outputs are unknown.
	ErrHistoryMissing = errors.New("ComfyUI announced the end of the prompt but its history never had it")
	// ErrLost tells that ComfyUI no longer knows the prompt, neither in its queue
	// nor in its history: it was deleted there, or the process is another one.
	ErrLost = errors.New("ComfyUI no longer knows the prompt")
	// ErrClosed is returned by runs on a closed client.
	ErrClosed = errors.New("the ComfyUI client is closed")
)

// An HTTPError is an answer that the request did not hope for.
type HTTPError struct {
	Method, Path string
	Status       int
	// Body is the beginning of the answer.
	Body string
}

func (e *HTTPError) Error() string {
	text := fmt.Sprintf("%s %s: ComfyUI answered %d", e.Method, e.Path, e.Status)
	if body := strings.Join(strings.Fields(e.Body), " "); body != "" {
		text += ": " + cut(body, 200)
	}
	return text
}

// A RejectedError tells that ComfyUI refused the workflow, and why.
type RejectedError struct {
	// Type is ComfyUI's word for the reason, Message and Details its sentences.
	Type, Message, Details string
	// Nodes are the nodes at fault. There may be none.
	Nodes []NodeError
}

// A NodeError is one fault of one node of a refused workflow.
type NodeError struct {
	Node, Class string
	// Type is ComfyUI's word for the fault, Message and Details its sentences.
	Type, Message, Details string
	// Field is the input at fault, "" if it is none in particular.
	Field string
	// Received is the value that was refused, as JSON text, "" if not told.
	Received string
	// Allowed are the first values of the list that the value should have been
	// in, Choices how many there are. Both are empty when ComfyUI did not tell.
	Allowed []string
	Choices int
}

// errorNodes is how many nodes the text of a RejectedError names.
const errorNodes = 5

func (e *RejectedError) Error() string {
	var b strings.Builder
	b.WriteString("ComfyUI refused the workflow")
	if len(e.Nodes) == 0 {
		for _, part := range []string{e.Message, e.Details} {
			if part != "" {
				b.WriteString(": " + part)
			}
		}
		return b.String()
	}
	separator := ": "
	for _, n := range e.Nodes[:min(len(e.Nodes), errorNodes)] {
		b.WriteString(separator + n.String())
		separator = "; "
	}
	if more := len(e.Nodes) - errorNodes; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// String is one line for people.
func (n NodeError) String() string {
	text := "node " + n.Node
	if n.Class != "" {
		text += " (" + n.Class + ")"
	}
	if n.Field != "" {
		text += " input " + n.Field
	}
	text += ": " + n.Message
	if n.Details != "" && n.Details != n.Field {
		text += ": " + n.Details
	}
	return text
}

// A NodeFailure tells that a node raised an exception while it was executed.
// What the node was given is left out on purpose: it may hold API keys.
type NodeFailure struct {
	Node, Class string
	// ExceptionType is the Python class, such as torch.OutOfMemoryError.
	ExceptionType string
	Message       string
	// Traceback holds the last lines of it, the innermost at the end.
	Traceback []string
}

func (e *NodeFailure) Error() string {
	if e.Node == "" {
		return e.Message
	}
	text := "node " + e.Node
	if e.Class != "" {
		text += " (" + e.Class + ")"
	}
	if e.ExceptionType != "" {
		return text + " raised " + e.ExceptionType + ": " + e.Message
	}
	return text + " failed: " + e.Message
}
