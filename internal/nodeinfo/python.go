package nodeinfo

import "io"

// pythonJSON makes JSON of what Python's json module writes: NaN, Infinity and
// -Infinity, which custom nodes use as limits, are read as 0. The length stays.
type pythonJSON struct {
	r       io.Reader
	inside  bool // of a string
	escaped bool
	blank   int // bytes that follow and belong to such a word
}

func (p *pythonJSON) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	for i, c := range b[:n] {
		b[i] = p.next(c)
	}
	return n, err
}

func (p *pythonJSON) next(c byte) byte {
	switch {
	case p.blank > 0:
		p.blank--
		return ' '
	case p.escaped:
		p.escaped = false
	case p.inside && c == '\\':
		p.escaped = true
	case c == '"':
		p.inside = !p.inside
	case p.inside:
	case c == 'N':
		p.blank = len("aN")
		return '0'
	case c == 'I':
		p.blank = len("nfinity")
		return '0'
	}
	return c
}
