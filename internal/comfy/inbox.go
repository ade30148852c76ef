package comfy

import (
	"bytes"
	"sync"
)

// Bounds of what waits for a slow run.
const (
	inboxLimit = 256
	framesSize = 256 << 20
)

// An inbox holds the messages of one prompt until its run reads them, also those
// that come before the submission was answered. Filling it never waits: of the
// previews only the newest is kept, then progress is dropped, then the oldest.
type inbox struct {
	id    string // the prompt's
	graph graph
	// ready has one value in it while there may be something to take.
	ready chan struct{}

	mu      sync.Mutex
	queue   []message
	preview *message
	node    string // at work now
	// frames are outputs, so that they are not dropped before framesSize.
	frames     []Frame
	framesSize int
	framesLost int
}

func newInbox(id string, g graph) *inbox {
	return &inbox{id: id, graph: g, ready: make(chan struct{}, 1)}
}

// put adds a message. The bytes of images are copied.
func (in *inbox) put(m message) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch e := m.event.(type) {
	case Preview:
		in.putImage(m, e)
	case Executing:
		in.node = e.Node
		in.enqueue(m)
	default:
		in.enqueue(m)
	}
	select {
	case in.ready <- struct{}{}:
	default:
	}
}

// putImage keeps an image as an output if the node at work is one that sends
// its results this way, else as the preview that the run sees next.
func (in *inbox) putImage(m message, p Preview) {
	if p.Node == "" {
		p.Node = in.node
	}
	p.Node = in.graph.owner(p.Node)
	if !in.graph.sendsFrames(p.Node) {
		p.Data = bytes.Clone(p.Data)
		m.event = p
		in.preview = &m
		return
	}
	if in.framesSize+len(p.Data) > framesSize {
		in.framesLost++
		return
	}
	in.framesSize += len(p.Data)
	in.frames = append(in.frames, Frame{Node: p.Node, MIME: p.MIME, Data: bytes.Clone(p.Data)})
	in.enqueue(message{at: m.at}) // a sign of life
}

func (in *inbox) enqueue(m message) {
	if len(in.queue) >= inboxLimit {
		drop := 0
		for i, old := range in.queue {
			if _, ok := old.event.(Progress); ok {
				drop = i
				break
			}
		}
		in.queue = append(in.queue[:drop], in.queue[drop+1:]...)
	}
	in.queue = append(in.queue, m)
}

// take empties the inbox, but for the frames.
func (in *inbox) take() []message {
	in.mu.Lock()
	defer in.mu.Unlock()
	taken := in.queue
	in.queue = nil
	if in.preview != nil {
		taken = append(taken, *in.preview)
		in.preview = nil
	}
	return taken
}

// takeFrames returns the outputs that came as frames, and how many more there
// were than fit.
func (in *inbox) takeFrames() (frames []Frame, lost int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	frames, lost = in.frames, in.framesLost
	in.frames = nil
	return frames, lost
}
