package comfytest

import (
	"encoding/json"
	"sync"

	"github.com/gorilla/websocket"
)

// A socket is one WebSocket connection.
type socket struct {
	c     *Comfy
	conn  *websocket.Conn
	id    string
	fault *Fault

	mu       sync.Mutex // held by who sends, and over what follows
	sent     int
	metadata bool // the client asked for previews with metadata
	held     []wireMessage
}

type wireMessage struct {
	kind int
	data []byte
}

// read takes the client's messages until the connection ends. Only the very
// first one can announce features.
func (s *socket) read() {
	s.conn.SetReadLimit(clientMessageSize)
	for first := true; ; first = false {
		kind, data, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		var m struct {
			Type string `json:"type"`
			Data struct {
				Previews bool `json:"supports_preview_metadata"`
			} `json:"data"`
		}
		if !first || kind != websocket.TextMessage || json.Unmarshal(data, &m) != nil || m.Type != "feature_flags" {
			continue
		}
		s.mu.Lock()
		s.metadata = m.Data.Previews
		s.sendEvent("feature_flags", s.c.features())
		s.mu.Unlock()
	}
}

// sendEvent, sendText and sendBinary need s.mu.
func (s *socket) sendEvent(event string, data *object) {
	text, err := encode(obj("type", event, "data", data))
	if err != nil {
		return
	}
	s.sendText(event, text)
}

func (s *socket) sendText(event string, text []byte) {
	if s.fault != nil {
		s.sendFaulty(event, wireMessage{websocket.TextMessage, text})
		return
	}
	s.write(wireMessage{websocket.TextMessage, text})
}

func (s *socket) sendBinary(p *preview) {
	one := *p
	if p.kind == framePreview && s.metadata {
		one.kind = framePreviewMeta
	}
	m := wireMessage{websocket.BinaryMessage, one.frame()}
	if s.fault != nil {
		s.sendFaulty("binary", m)
		return
	}
	s.write(m)
}

// write puts a message on the wire. A dead connection is noticed by read.
func (s *socket) write(m wireMessage) {
	s.sent++
	if s.conn != nil {
		_ = s.conn.WriteMessage(m.kind, m.data)
	}
}
