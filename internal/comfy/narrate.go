package comfy

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// warningLimit bounds the warnings of one prompt.
const warningLimit = 32

// handleAll handles what the inbox holds.
func (r *run) handleAll() {
	for _, m := range r.inbox.take() {
		if !r.handleSocket(m) {
			r.handle(m)
		}
	}
}

// handleSocket handles the messages about the socket itself, and tells whether
// m is one.
func (r *run) handleSocket(m message) bool {
	switch e := m.event.(type) {
	case SocketLost:
		if !r.lost {
			r.tell(e)
		}
		r.lost = true
	case SocketRegained:
		if r.lost {
			r.tell(e)
		}
		r.lost = false
		// The end may have passed while nobody listened.
		r.pace.atOnce = r.pace.atOnce || m.at.After(r.submitted)
	case PollingOnly:
		r.tell(e)
	default:
		return false
	}
	return true
}

// handle handles a message of ComfyUI about the prompt.
func (r *run) handle(m message) {
	before := r.pace.mark
	r.pace.hear(m.at, m.mark)
	if before == noMark && r.pace.mark >= doneMark {
		defer r.tell(Finished{})
	}
	if m.failure != nil {
		r.handleFailure(m.failure)
	}
	switch e := m.event.(type) {
	case nil:
	case Started:
		r.start()
	case Executing:
		r.start()
		e.Node = r.graph.owner(e.Node)
		r.work(e.Node, m.at)
		r.tell(e)
	case Progress:
		r.start()
		e.Node = r.graph.owner(e.Node)
		r.tell(e)
	case Executed:
		e.Node = r.graph.owner(e.Node)
		r.tell(e)
	case Text:
		e.Node = r.graph.owner(e.Node)
		r.tell(e)
	default:
		r.tell(e)
	}
}

// handleFailure keeps what an event says about a failure. That of a blocked
// node fails nobody, and stands in no history.
func (r *run) handleFailure(f *NodeFailure) {
	if !f.blocked() {
		r.failure = f
		return
	}
	r.warn("node %s (%s) was not executed: %s", f.Node, f.Class, f.Message)
}

// start tells once that the prompt is executed.
func (r *run) start() {
	if !r.started {
		r.started = true
		r.tell(Started{})
	}
}

func (r *run) tellQueued(ahead int) {
	if ahead != r.queued && !r.started {
		r.queued = ahead
		r.tell(Queued{Ahead: ahead})
	}
}

// work notes that node is at work from now on, and the one before it no more.
func (r *run) work(node string, now time.Time) {
	if r.node != "" {
		if r.times == nil {
			r.times = make(map[string]time.Duration)
		}
		r.times[r.node] += now.Sub(r.since)
	}
	r.node, r.since = node, now
}

// missFrames warns of nodes whose images never came.
func (r *run) missFrames(frames []Frame) {
	for _, node := range slices.SortedFunc(maps.Keys(r.graph), compareNodes) {
		from := func(f Frame) bool { return f.Node == node }
		if r.graph.sendsFrames(node) && !slices.ContainsFunc(frames, from) {
			r.warn("node %s (%s) sent no image over the event socket, which may have been cut meanwhile", node, r.graph[node])
		}
	}
}

func (r *run) warn(format string, args ...any) {
	if len(r.warnings) < warningLimit {
		r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
	}
}
