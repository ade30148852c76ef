package secret

import (
	"bytes"
	"slices"
)

// MinLength is the length in bytes below which a value is not looked for.
const MinLength = 8

// A matcher finds any of a fixed set of patterns in one pass. It is Wu and
// Manber's: a window of MinLength bytes moves over the text, and the two bytes
// at its end tell how far it may jump before a pattern could begin. Where
// nothing matches it looks at about one byte in six.
type matcher struct {
	longest int
	// jump is how far the window may move, by the two bytes at its end.
	jump [1 << 16]uint8
	// begin are the patterns, by the last two bytes of their first MinLength.
	begin map[uint16][][]byte
}

// span is the part of a text from start up to, not including, end.
type span struct{ start, end int }

// newMatcher returns a matcher of those patterns that are long enough.
func newMatcher(patterns []string) *matcher {
	m := &matcher{begin: make(map[uint16][][]byte)}
	for i := range m.jump {
		m.jump[i] = MinLength - 1
	}
	slices.Sort(patterns)
	for _, s := range slices.Compact(patterns) {
		if len(s) < MinLength {
			continue
		}
		p := []byte(s)
		m.longest = max(m.longest, len(p))
		for i := 1; i < MinLength; i++ {
			k := key(p[i-1], p[i])
			m.jump[k] = min(m.jump[k], uint8(MinLength-1-i))
		}
		k := key(p[MinLength-2], p[MinLength-1])
		m.begin[k] = append(m.begin[k], p)
	}
	return m
}

func key(a, b byte) uint16 { return uint16(a)<<8 | uint16(b) }

// find returns where text holds patterns, from left to right. Overlapping
// occurrences make one span.
func (m *matcher) find(text []byte) []span {
	if m.longest == 0 {
		return nil
	}
	var spans []span
	for i := MinLength - 1; i < len(text); {
		k := key(text[i-1], text[i])
		if n := m.jump[k]; n > 0 {
			i += int(n)
			continue
		}
		start := i - (MinLength - 1)
		for _, p := range m.begin[k] {
			if bytes.HasPrefix(text[start:], p) {
				spans = extend(spans, span{start, start + len(p)})
			}
		}
		i++
	}
	return spans
}

// extend adds s, which starts no earlier than the last of spans.
func extend(spans []span, s span) []span {
	if n := len(spans); n > 0 && s.start < spans[n-1].end {
		spans[n-1].end = max(spans[n-1].end, s.end)
		return spans
	}
	return append(spans, s)
}
