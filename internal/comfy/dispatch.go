package comfy

import (
	"slices"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
)

// tell puts a message into every inbox.
func (s *stream) tell(m message) {
	m.at = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.followers {
		in.put(m)
	}
}

// receive sorts a frame into the inbox of its prompt. It never waits.
func (s *stream) receive(kind int, frame []byte) {
	decodeFrame := decodeText
	if kind == websocket.BinaryMessage {
		decodeFrame = decodeBinary
	}
	m, err := decodeFrame(frame)
	if err != nil {
		s.log.Debug("frame ignored", zap.Error(err))
		return
	}
	m.at = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.addressee(m); in != nil {
		in.put(m)
	}
}

// addressee finds the inbox of a message, nil if it is none of ours. A message
// that names no prompt is about the one that runs. While that is not known, it
// is the one submitted first, for ComfyUI keeps the order.
func (s *stream) addressee(m message) *inbox {
	in := s.current
	if m.prompt != "" {
		i := slices.IndexFunc(s.followers, func(in *inbox) bool { return in.id == m.prompt })
		if i < 0 {
			return nil
		}
		in = s.followers[i]
	} else if !m.running {
		return nil
	} else if in == nil && len(s.followers) > 0 {
		in = s.followers[0]
	}
	switch {
	case m.running:
		s.current = in
	case m.mark == endMark && s.current == in:
		s.current = nil
	}
	return in
}
