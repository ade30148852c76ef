package jobclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// longText is the length in bytes above which a text of a document is left where
// it is, and maxSkeleton bounds what remains of the document.
const (
	longText    = 32 << 10
	maxSkeleton = 64 << 20
)

var errSkeleton = errors.New("the result has more than 64 MB beside its files")

// A hole is where a long text of a document stands: the bytes between its quotes.
type hole struct{ offset, size int64 }

// A skeleton is a document whose long texts were replaced, each by a text that
// begins with mark and ends with the number of its hole.
type skeleton struct {
	text  []byte
	mark  string
	holes []hole
}

// cut reads a document to its end and returns its skeleton. What it read may be
// kept by the caller with io.TeeReader; holes count from its first byte. The mark
// must not occur in the document.
func cut(document io.Reader, mark string) (*skeleton, error) {
	c := cutter{in: bufio.NewReaderSize(document, 64<<10), out: &skeleton{mark: mark}}
	for {
		b, err := c.next()
		if err == io.EOF {
			return c.out, nil
		}
		if err != nil {
			return nil, err
		}
		c.out.text = append(c.out.text, b)
		if b == '"' {
			if err := c.quoted(); err != nil {
				return nil, err
			}
		}
		if len(c.out.text) > maxSkeleton {
			return nil, errSkeleton
		}
	}
}

// hole returns the hole that a text of the skeleton stands for.
func (s *skeleton) hole(text string) (hole, bool) {
	number, ok := bytes.CutPrefix([]byte(text), []byte(s.mark))
	if !ok {
		return hole{}, false
	}
	i, err := strconv.Atoi(string(number))
	if err != nil || i < 0 || i >= len(s.holes) {
		return hole{}, false
	}
	return s.holes[i], true
}

// fill returns text with what its holes held, read from the document.
func (s *skeleton) fill(text []byte, document io.ReaderAt) ([]byte, error) {
	for i, h := range s.holes {
		name := strconv.AppendInt([]byte(s.mark), int64(i), 10)
		before, after, found := bytes.Cut(text, append(name, '"'))
		if !found {
			continue
		}
		if h.size > maxSkeleton {
			return nil, errSkeleton
		}
		long := make([]byte, h.size)
		if _, err := document.ReadAt(long, h.offset); err != nil {
			return nil, err
		}
		text = bytes.Join([][]byte{before, long, []byte{'"'}, after}, nil)
	}
	return text, nil
}

type cutter struct {
	in  *bufio.Reader
	at  int64 // bytes read
	out *skeleton
}

func (c *cutter) next() (byte, error) {
	b, err := c.in.ReadByte()
	if err == nil {
		c.at++
	}
	return b, err
}

// quoted takes a text, whose first quote has been taken, with its last one.
func (c *cutter) quoted() error {
	begin, start := len(c.out.text), c.at
	for {
		if err := c.plain(start); err != nil {
			return err
		}
		b, err := c.next()
		if err != nil {
			return err
		}
		if b == '"' {
			break
		}
		c.keep(start, b)
		if b == '\\' {
			b, err = c.next()
			if err == io.EOF {
				return io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
			c.keep(start, b)
		}
	}
	if size := c.at - 1 - start; size > longText {
		c.out.text = append(c.out.text[:begin], c.out.mark...)
		c.out.text = strconv.AppendInt(c.out.text, int64(len(c.out.holes)), 10)
		c.out.holes = append(c.out.holes, hole{start, size})
	}
	c.out.text = append(c.out.text, '"')
	return nil
}

// plain takes what comes before the next quote or backslash of a text. There is
// a next byte when it returns nil.
func (c *cutter) plain(start int64) error {
	for {
		if _, err := c.in.Peek(1); err == io.EOF {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
		piece, _ := c.in.Peek(c.in.Buffered())
		end := bytes.IndexAny(piece, `"\`)
		if end >= 0 {
			piece = piece[:end]
		}
		c.at += int64(len(piece))
		c.keep(start, piece...)
		_, _ = c.in.Discard(len(piece)) // it is buffered
		if end >= 0 {
			return nil
		}
	}
}

// keep copies bytes of a text to the skeleton while it is not known to be long.
func (c *cutter) keep(start int64, b ...byte) {
	if c.at-start <= longText+64<<10 && int64(len(c.out.text)) < maxSkeleton {
		c.out.text = append(c.out.text, b...)
	}
}
