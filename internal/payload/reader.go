package payload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
)

// errClosed is returned by a read after Close.
var errClosed = errors.New("read from a closed result body")

// reader yields the parts of a body one after another, holding one file open
// at a time.
type reader struct {
	rest    []part
	current io.Reader
	file    io.Closer
	closed  bool
}

// Read reads on. It is net/http that calls it, in a goroutine where a panic would
// end the program: it is an error of the file instead.
func (r *reader) Read(p []byte) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while an output file was read: %v\n%s", p, debug.Stack())
		}
	}()
	for {
		if r.closed {
			return 0, errClosed
		}
		if r.current == nil {
			if len(r.rest) == 0 {
				return 0, io.EOF
			}
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.current.Read(p)
		if err == io.EOF {
			err = r.leave()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close releases the file that is being read, if there is one.
func (r *reader) Close() error {
	r.closed = true
	return r.leave()
}

// next begins the next part.
func (r *reader) next() error {
	p := r.rest[0]
	r.rest = r.rest[1:]
	if p.content == nil {
		r.current = bytes.NewReader(p.text)
		return nil
	}
	f, err := p.content.Open()
	if err != nil {
		return fmt.Errorf("open output file: %w", err)
	}
	r.file = f
	r.current = &exact{r: f, left: p.content.Size}
	if p.encode {
		r.current = newEncoder(r.current, p.content.Size)
	}
	return nil
}

// leave ends the part at hand.
func (r *reader) leave() error {
	r.current = nil
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// exact fails where a file turns out shorter or longer than its promised size:
// the size stands in the request's Content-Length, so another length would be
// a broken result.
type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return 0, fmt.Errorf("output file grew by %d bytes or more while it was read", -e.left)
	case err == io.EOF && e.left > 0:
		return n, fmt.Errorf("output file is %d bytes shorter than it was: %w", e.left, io.ErrUnexpectedEOF)
	}
	return n, err
}
