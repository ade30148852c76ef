package supervisor

import (
	"bytes"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// A Line is one line of the process's output.
type Line struct {
	Stream      string // stdout or stderr
	Text        string // valid UTF-8 without NUL; colours are left in
	Incarnation int
	Time        time.Time
	// Cut says that the line was longer than 64 KiB, and that the rest of it
	// has been left out.
	Cut bool
	// Dropped is set in a line that is not the process's own: it tells that so
	// many lines were left out, because they came too fast for LineRate or for
	// Lines.
	Dropped int
}

// lineLimit is where lines are cut.
const lineLimit = 64 << 10

// A splitter finds the lines in a stream. They end in \n, \r\n, or \r, by
// which a progress bar writes over itself.
type splitter struct {
	line   []byte // begun and not ended
	cut    bool   // the line is over the limit and told; its rest is skipped
	passed bool   // the last byte was \r
}

// write takes a piece of the stream. The bytes that emit is given are only
// valid during the call.
func (s *splitter) write(b []byte, emit func(line []byte, cut bool)) {
	newline := -1 // where the next one is, found once however many \r precede it
	for start := 0; start < len(b); {
		if newline < start {
			newline = start + indexByte(b[start:], '\n')
		}
		end := start + indexByte(b[start:newline], '\r')
		s.add(b[start:end], end < len(b), emit)
		if end < len(b) {
			s.end(b[start:end], b[end], emit)
		}
		start = end + 1
	}
}

// add keeps a piece of a line, unless the line is whole already.
func (s *splitter) add(piece []byte, whole bool, emit func([]byte, bool)) {
	if len(piece) > 0 {
		s.passed = false
	}
	if s.cut || whole && len(s.line) == 0 && len(piece) <= lineLimit {
		return
	}
	room := lineLimit - len(s.line)
	s.line = append(s.line, piece[:min(len(piece), room)]...)
	if len(piece) > room {
		s.cut = true
		emit(s.line, true)
	}
}

// end tells the line, whose last piece is given, as by has ended it.
func (s *splitter) end(piece []byte, by byte, emit func([]byte, bool)) {
	line := s.line
	if len(line) == 0 {
		line = piece
	}
	// Nothing before a \r, and a \n behind it, are no lines.
	if !s.cut && (len(line) > 0 || by == '\n' && !s.passed) {
		emit(line, false)
	}
	s.line, s.cut, s.passed = s.line[:0], false, by == '\r'
}

// flush tells what was begun and will not be ended.
func (s *splitter) flush(emit func([]byte, bool)) {
	if len(s.line) > 0 && !s.cut {
		emit(s.line, false)
	}
	*s = splitter{}
}

// indexByte is bytes.IndexByte with the length of b for none.
func indexByte(b []byte, c byte) int {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return i
	}
	return len(b)
}

// printable makes any bytes into text that every reader of logs can take.
func printable(b []byte) string {
	if utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 {
		return string(b)
	}
	text := strings.ToValidUTF8(string(b), "\uFFFD")
	return strings.ReplaceAll(text, "\x00", "\uFFFD")
}

// ansi matches escape sequences: CSI (colours, cursor), OSC (titles, links)
// the short ones, and an escape that nothing follows.
var ansi = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])?`)

// StripANSI removes escape sequences, such as colours, from a text.
func StripANSI(text string) string {
	if strings.IndexByte(text, '\x1b') < 0 {
		return text
	}
	return ansi.ReplaceAllString(text, "")
}
