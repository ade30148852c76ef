package secret

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A Scrubber replaces the secrets that it knows with ***. Its zero value knows
// none. All methods may be called from any goroutine.
type Scrubber struct {
	mu    sync.Mutex     // held while values change
	known map[string]int // how many times each value was added

	match atomic.Pointer[matcher]
}

// Add makes the values known until forget is called. A value that was added
// twice has to be forgotten twice. Forget may be called more than once.
func (s *Scrubber) Add(values ...string) (forget func()) {
	values = slices.Clone(values)
	s.change(values, 1)
	return sync.OnceFunc(func() { s.change(values, -1) })
}

func (s *Scrubber) change(values []string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[string]int)
	}
	for _, v := range values {
		if len(v) < MinLength {
			continue
		}
		s.known[v] += by
		if s.known[v] == 0 {
			delete(s.known, v)
		}
	}
	var patterns []string
	for v := range s.known {
		patterns = append(patterns, forms(v)...)
	}
	s.match.Store(newMatcher(patterns))
}

// String returns text without the secrets.
func (s *Scrubber) String(text string) string {
	b := []byte(text)
	spans := s.find(b)
	if len(spans) == 0 {
		return text
	}
	return string(masked(b, spans))
}

// Bytes returns text without the secrets: text itself if it holds none, else a
// copy.
func (s *Scrubber) Bytes(text []byte) []byte {
	spans := s.find(text)
	if len(spans) == 0 {
		return text
	}
	return masked(text, spans)
}

func (s *Scrubber) find(text []byte) []span {
	m := s.match.Load()
	if m == nil {
		return nil
	}
	return m.find(text)
}

// longest is the length of the longest pattern, 0 if there is none.
func (s *Scrubber) longest() int {
	m := s.match.Load()
	if m == nil {
		return 0
	}
	return m.longest
}

func masked(text []byte, spans []span) []byte {
	out := make([]byte, 0, len(text))
	from := 0
	for _, sp := range spans {
		out = append(out, text[from:sp.start]...)
		out = append(out, Mask...)
		from = sp.end
	}
	return append(out, text[from:]...)
}
