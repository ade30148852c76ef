package simulation

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A wire carries bytes one way, in order, each piece after its latency. What is
// written while the link is dark arrives when it is light again.
type wire struct {
	link *link

	mu       sync.Mutex
	data     []byte
	from     int // the first byte of data that is not yet read
	pieces   []piece
	next     int       // the first of them
	last     time.Time // arrival of the latest piece
	ended    bool      // the writer has closed
	broken   error     // what both ends get at once
	deadline time.Time
	wake     chan struct{} // holds a token when the reader has to look again
	timer    *time.Timer   // of the reader
}

type piece struct {
	size int
	at   time.Time
}

func newWire(l *link) *wire { return &wire{link: l, wake: make(chan struct{}, 1)} }

func (w *wire) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *wire) write(b []byte) (int, error) {
	arrival := w.link.arrival()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.broken != nil:
		return 0, w.broken
	case w.ended:
		return 0, net.ErrClosed
	}
	if arrival.Before(w.last) {
		arrival = w.last
	}
	w.last = arrival
	if w.next == len(w.pieces) { // all is read: its room is free again
		w.data, w.from = w.data[:0], 0
		w.pieces, w.next = w.pieces[:0], 0
	}
	w.data = append(w.data, b...)
	w.pieces = append(w.pieces, piece{len(b), arrival})
	w.poke()
	return len(b), nil
}

func (w *wire) read(b []byte) (int, error) {
	for {
		dark := w.link.darkness()
		n, wait, err := w.take(b, dark == nil)
		if n > 0 || err != nil {
			return n, err
		}
		var due <-chan time.Time
		if wait > 0 {
			if w.timer == nil {
				w.timer = time.NewTimer(wait)
			} else {
				w.timer.Reset(wait)
			}
			due = w.timer.C
		}
		select {
		case <-w.wake:
		case <-due:
		case <-dark:
		}
		if wait > 0 {
			w.timer.Stop()
		}
	}
}

// take returns what has arrived, or how long to wait for more: 0 for as long as
// nothing changes.
func (w *wire) take(b []byte, light bool) (n int, wait time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case w.broken != nil:
		return 0, 0, w.broken
	case !w.deadline.IsZero() && !now.Before(w.deadline):
		return 0, 0, os.ErrDeadlineExceeded
	}
	for w.next < len(w.pieces) && n < len(b) && light && !now.Before(w.pieces[w.next].at) {
		first := &w.pieces[w.next]
		size := min(first.size, len(b)-n)
		n += copy(b[n:n+size], w.data[w.from:])
		w.from += size
		if first.size -= size; first.size == 0 {
			w.next++
		}
	}
	if n > 0 {
		return n, 0, nil
	}
	if w.next == len(w.pieces) && w.ended && light {
		return 0, 0, io.EOF
	}
	if w.next < len(w.pieces) && light {
		wait = w.pieces[w.next].at.Sub(now)
	}
	if !w.deadline.IsZero() && (wait == 0 || w.deadline.Sub(now) < wait) {
		wait = w.deadline.Sub(now)
	}
	return 0, wait, nil
}

func (w *wire) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.poke()
}

func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == nil {
		w.broken = err
		w.poke()
	}
}

// A conn is one end of a connection.
type conn struct {
	in, out *wire
	host    *host
	once    sync.Once
}

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.in.read(b)
	return n, opError("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, opError("write", err)
}

func opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}

// Close lets the other end read what was written, as TCP does.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.out.end()
		c.in.fail(net.ErrClosed)
		c.out.link.forget(c)
	})
	return nil
}

// cut breaks the connection for both ends.
func (c *conn) cut() {
	c.in.fail(syscall.ECONNRESET)
	c.out.fail(syscall.ECONNRESET)
}

func (c *conn) LocalAddr() net.Addr  { return address }
func (c *conn) RemoteAddr() net.Addr { return address }

var address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8188}

func (c *conn) SetDeadline(t time.Time) error {
	return c.SetReadDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.deadline = t
	c.in.poke()
	return nil
}

// SetWriteDeadline does nothing, because no write waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
