package comfytest

import (
	"encoding/json"

	"github.com/gorilla/websocket"
)

// sendFaulty passes m on as the socket's rule would have it.
func (s *socket) sendFaulty(event string, m wireMessage) {
	f := s.fault
	if s.conn == nil {
		return // the handshake came to nothing
	}
	switch f.Do {
	case "silent":
		if s.sent >= f.After {
			return
		}
	case "cut":
		if s.sent >= f.After {
			s.conn.NetConn().Close()
			return
		}
	case "close":
		if s.sent >= f.After {
			_ = s.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, f.Body))
			s.conn.NetConn().Close()
			return
		}
	case "no-end":
		if isEndMarker(event, m.data) {
			return
		}
	case "foreign":
		if s.sent >= f.After {
			s.write(wireMessage{websocket.TextMessage, []byte(foreignEvents[s.sent%len(foreignEvents)])})
		}
	case "garbage":
		if s.sent >= f.After {
			s.write(wireMessage{websocket.TextMessage, []byte(`{"type": "executing", "data": {"no`)})
		}
	case "oversize":
		if s.sent == f.After {
			s.write(wireMessage{websocket.TextMessage, oversized(f.Bytes)})
		}
	case "twice":
		s.write(m)
	case "shuffle":
		s.shuffle(event, m)
		return
	}
	s.write(m)
}

// shuffle holds the messages of a prompt back until its end and sends them
// in reverse.
func (s *socket) shuffle(event string, m wireMessage) {
	s.held = append(s.held, m)
	if event != "status" && !isEndMarker(event, m.data) {
		return
	}
	if event == "status" && len(s.held) > 1 {
		return
	}
	for i := len(s.held) - 1; i >= 0; i-- {
		s.write(s.held[i])
	}
	s.held = nil
}

func isEndMarker(event string, data []byte) bool {
	var m struct {
		Data struct {
			Node     *string `json:"node"`
			PromptID string  `json:"prompt_id"`
		} `json:"data"`
	}
	return event == "executing" && json.Unmarshal(data, &m) == nil && m.Data.Node == nil && m.Data.PromptID != ""
}

func oversized(n int) []byte {
	b := append([]byte(`{"type": "custom", "data": {"filler": "`), make([]byte, n)...)
	for i := len(b) - n; i < len(b); i++ {
		b[i] = 'x'
	}
	return append(b, `"}}`...)
}

// foreignEvents tell of a prompt that is not the listener's.
var foreignEvents = [...]string{
	`{"type": "execution_start", "data": {"prompt_id": "00000000-0000-4000-8000-00000000f0e1", "timestamp": 1}}`,
	`{"type": "executing", "data": {"node": "1", "display_node": "1", "prompt_id": "00000000-0000-4000-8000-00000000f0e1"}}`,
	`{"type": "execution_error", "data": {"prompt_id": "00000000-0000-4000-8000-00000000f0e1", "node_id": "1", "node_type": "KSampler", "exception_message": "of another prompt\n", "exception_type": "ValueError"}}`,
	`{"type": "executing", "data": {"node": null, "prompt_id": "00000000-0000-4000-8000-00000000f0e1"}}`,
	`{"type": "crystools.monitor", "data": {"cpu_utilization": 12.5}}`,
}
