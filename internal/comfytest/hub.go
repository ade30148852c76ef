package comfytest

import (
	"encoding/binary"
	"sync"

	"github.com/google/uuid"
)

// Numbers of the binary messages.
const (
	framePreview      = 1
	frameText         = 3
	framePreviewMeta  = 4
	imageJPEG         = 1
	imagePNG          = 2
	clientMessageSize = 4 << 20
)

// A hub sends messages to WebSocket clients: one after another, in one order
// for all, so that a client that does not read stops the messages of all.
type hub struct {
	c *Comfy

	mu      sync.Mutex
	sockets map[string]*socket // by client id; what is not in it hears nothing
	all     map[*socket]struct{}
	outbox  []outgoing
	wake    chan struct{} // holds one token when the outbox may be non-empty
}

// outgoing is one message: to one client id, or to all if to is nil.
type outgoing struct {
	to      *string
	event   string
	data    *object
	preview *preview // set for binary messages
}

// A preview is a binary message: a picture of a running node, or text.
type preview struct {
	kind   int
	format int
	meta   *object
	data   []byte
}

func newHub(c *Comfy) *hub {
	return &hub{
		c:       c,
		sockets: make(map[string]*socket),
		all:     make(map[*socket]struct{}),
		wake:    make(chan struct{}, 1),
	}
}

// post queues a message. It never blocks.
func (h *hub) post(m outgoing) {
	h.mu.Lock()
	h.outbox = append(h.outbox, m)
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// run delivers what was posted, until the process ends.
func (h *hub) run() {
	for {
		select {
		case <-h.wake:
		case <-h.c.ctx.Done():
			return
		}
		for {
			m, ok := h.take()
			if !ok {
				break
			}
			if !h.c.loop.wait(nil, h.c.ctx.Done()) {
				return
			}
			h.deliver(m)
		}
	}
}

func (h *hub) take() (outgoing, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.outbox) == 0 {
		return outgoing{}, false
	}
	m := h.outbox[0]
	h.outbox = h.outbox[1:]
	return m, true
}

func (h *hub) deliver(m outgoing) {
	audience := h.audience(m.to)
	if len(audience) == 0 {
		return
	}
	var text []byte
	if m.preview == nil {
		var err error
		text, err = encode(obj("type", m.event, "data", m.data))
		if err != nil {
			// ComfyUI's publish loop dies of it, and the whole server with it.
			h.c.log.error("Traceback (most recent call last):\nTypeError: %v", err)
			h.c.tearDown(1)
			return
		}
	}
	for _, s := range audience {
		s.mu.Lock()
		if m.preview != nil {
			s.sendBinary(m.preview)
		} else {
			s.sendText(m.event, text)
		}
		s.mu.Unlock()
	}
}

func (h *hub) audience(to *string) []*socket {
	h.mu.Lock()
	defer h.mu.Unlock()
	var who []*socket
	if to != nil {
		if s, ok := h.sockets[*to]; ok {
			who = append(who, s)
		}
		return who
	}
	for _, s := range h.sockets {
		who = append(who, s)
	}
	return who
}

func (h *hub) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// cut ends every connection without a close message.
func (h *hub) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.all {
		if s.conn != nil {
			s.conn.NetConn().Close()
		}
	}
}

func (p *preview) frame() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(p.kind))
	switch p.kind {
	case framePreview:
		b = binary.BigEndian.AppendUint32(b, uint32(p.format))
	case framePreviewMeta, frameText:
		head, _ := encode(p.meta)
		if p.kind == frameText {
			head = []byte(p.meta.get("node_id").(string))
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
		b = append(b, head...)
	}
	return append(b, p.data...)
}

func uuidHex(id uuid.UUID) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 32)
	for _, x := range id {
		b = append(b, digits[x>>4], digits[x&15])
	}
	return string(b)
}
