package media

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// Most is how many bytes of a file are looked at. What lies behind more than that
// is not found.
const Most = 8 << 20

// mostDiscarded is how many bytes of a file that cannot seek are read past.
const mostDiscarded = 64 << 20

// window is how much is read at once.
const window = 4096

var errEnough = errors.New("more was read than a header may take")

// A cursor goes through a file once, from the front to the back. After the first
// error it yields zeros, and ends stays true.
type cursor struct {
	file *bounded
	in   *bufio.Reader
	size int64 // of the file
	at   int64 // of the next byte
	err  error
}

// bounded is a file of which no more than left bytes are read.
type bounded struct {
	io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errEnough
	}
	n, err := b.Reader.Read(p)
	b.left -= int64(n)
	return n, err
}

func newCursor(r io.Reader, size int64) *cursor {
	file := &bounded{r, Most}
	return &cursor{file: file, in: bufio.NewReaderSize(file, window), size: size}
}

// ended tells whether nothing more is to be had.
func (c *cursor) ended() bool { return c.err != nil }

// peek returns the next n bytes, or as many as there are, and stays where it is.
// N is no larger than the window. They are valid until the next call.
func (c *cursor) peek(n int) []byte {
	b, _ := c.in.Peek(n)
	return b
}

// next returns the next n bytes, at most a window of them, with zeros for those
// that are missing. They are valid until the next call.
func (c *cursor) next(n int) []byte {
	if c.err != nil {
		return make([]byte, n)
	}
	b, err := c.in.Peek(n)
	if err != nil {
		c.err = err
		b = append(make([]byte, 0, n), b...)[:n]
	}
	discarded, _ := c.in.Discard(min(n, c.in.Buffered()))
	c.at += int64(discarded)
	return b
}

func (c *cursor) byte() byte    { return c.next(1)[0] }
func (c *cursor) be16() uint16  { return binary.BigEndian.Uint16(c.next(2)) }
func (c *cursor) be32() uint32  { return binary.BigEndian.Uint32(c.next(4)) }
func (c *cursor) be64() uint64  { return binary.BigEndian.Uint64(c.next(8)) }
func (c *cursor) le32() uint32  { return binary.LittleEndian.Uint32(c.next(4)) }
func (c *cursor) text4() string { return string(c.next(4)) }

// skip goes n bytes on.
func (c *cursor) skip(n int64) {
	switch {
	case c.err != nil:
	case n < 0:
		c.err = errors.New("a part ends before it begins")
	case n <= int64(c.in.Buffered()):
		_, c.err = c.in.Discard(int(n))
		c.at += n
	default:
		c.jump(n)
	}
}

// jump goes on beyond what is in the window.
func (c *cursor) jump(n int64) {
	if s, can := c.file.Reader.(io.Seeker); can {
		if c.at += n; c.at > c.size {
			c.err = io.ErrUnexpectedEOF
			return
		}
		_, c.err = s.Seek(c.at, io.SeekStart)
		c.in.Reset(c.file)
		return
	}
	c.file.left = min(c.file.left+n, mostDiscarded) // they are not looked at
	discarded, err := io.CopyN(io.Discard, c.in, n)
	c.at += discarded
	c.err = err
}

// until goes on to a place, which may be here.
func (c *cursor) until(at int64) { c.skip(at - c.at) }
