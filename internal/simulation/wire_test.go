package simulation

import (
	"context"
	"io"
	"math/rand/v2"
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
	pieces   []piece
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
	w.data = append(w.data, b...)
	w.pieces = append(w.pieces, piece{len(b), arrival})
	w.poke()
	return len(b), nil
}

func (w *wire) read(b []byte) (int, error) {
	for {
		n, wait, err := w.take(b)
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
		}
		if wait > 0 {
			w.timer.Stop()
		}
	}
}

// take returns what has arrived, or how long to wait for more: 0 for as long as
// nothing changes.
func (w *wire) take(b []byte) (n int, wait time.Duration, err error) {
	light := w.link.lightAt()
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case w.broken != nil:
		return 0, 0, w.broken
	case !w.deadline.IsZero() && !now.Before(w.deadline):
		return 0, 0, os.ErrDeadlineExceeded
	}
	for len(w.pieces) > 0 && n < len(b) && light && !now.Before(w.pieces[0].at) {
		size := min(w.pieces[0].size, len(b)-n)
		n += copy(b[n:n+size], w.data)
		w.data = w.data[size:]
		if w.pieces[0].size -= size; w.pieces[0].size == 0 {
			w.pieces = w.pieces[1:]
		}
	}
	if n > 0 {
		return n, 0, nil
	}
	if len(w.pieces) == 0 && w.ended && light {
		return 0, 0, io.EOF
	}
	if len(w.pieces) > 0 && light {
		wait = w.pieces[0].at.Sub(now)
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

// A host dials. Nothing that it has opened outlives it.
type host struct {
	mu    sync.Mutex
	dead  bool
	conns map[*conn]struct{}
}

func newHost() *host { return &host{conns: make(map[*conn]struct{})} }

// die cuts all connections of the host, and opens no more.
func (h *host) die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
	for c := range h.conns {
		c.cut()
	}
	h.conns = nil
}

// A link leads to one listener at a time.
type link struct {
	local   bool          // the kernel opens connections, however dark it is
	latency time.Duration // at most

	mu       sync.Mutex
	rand     *rand.Rand
	dark     bool // nothing arrives, and nothing is refused
	refusing bool
	on       *listener
	conns    map[*conn]struct{} // the dialing ends
	changed  chan struct{}
}

func newLink(local bool, latency time.Duration, r *rand.Rand) *link {
	return &link{local: local, latency: latency, rand: r, conns: make(map[*conn]struct{}), changed: make(chan struct{})}
}

// arrival is when what is written now arrives.
func (l *link) arrival() time.Time {
	now := time.Now()
	if l.latency == 0 {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Add(time.Duration(l.rand.Int64N(int64(l.latency))))
}

func (l *link) lightAt() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.dark
}

// set makes the link dark, refusing, or neither.
func (l *link) set(dark, refusing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark, l.refusing = dark, refusing
	close(l.changed)
	l.changed = make(chan struct{})
	for c := range l.conns {
		c.in.poke()
		c.out.poke()
	}
}

// cut breaks every connection, and tells how many there were.
func (l *link) cut() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.conns)
	for c := range l.conns {
		c.cut()
	}
	clear(l.conns)
	return n
}

func (l *link) forget(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	if c.host != nil {
		c.host.mu.Lock()
		delete(c.host.conns, c)
		c.host.mu.Unlock()
	}
}

// dialTimeout is that of the dialers that stand here in the program.
const dialTimeout = 5 * time.Second

// dialer returns what a host dials the link with.
func (l *link) dialer(h *host) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		late := time.NewTimer(dialTimeout)
		defer late.Stop()
		for {
			c, wait, err := l.connect(h)
			if c != nil || err != nil {
				return c, err
			}
			select {
			case <-wait:
			case <-late.C:
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
}

// connect opens a connection, or tells what to wait for while the link is dark.
func (l *link) connect(h *host) (net.Conn, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.dead || l.refusing || l.on == nil && (l.local || !l.dark):
		return nil, nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case l.dark && !l.local:
		return nil, l.changed, nil
	}
	up, down := newWire(l), newWire(l)
	near := &conn{in: down, out: up, host: h}
	far := &conn{in: up, out: down}
	l.conns[near], h.conns[near] = struct{}{}, struct{}{}
	l.on.offer(far)
	return near, nil, nil
}

// A listener takes the far ends of a link's connections.
type listener struct {
	link *link

	mu      sync.Mutex
	waiting []net.Conn
	closed  bool
	wake    chan struct{}
}

// listen takes the link over from whoever listened before.
func (l *link) listen() *listener {
	on := &listener{link: l, wake: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on = on
	return on
}

func (l *listener) offer(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, c)
	l.poke()
}

func (l *listener) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		closed, waiting := l.closed, l.waiting
		if !closed && len(waiting) > 0 {
			l.waiting = waiting[1:]
			l.mu.Unlock()
			return waiting[0], nil
		}
		l.mu.Unlock()
		if closed {
			l.poke() // for whoever else waits
			return nil, net.ErrClosed
		}
		<-l.wake
	}
}

// Close ends the listening, and the connections that nobody has accepted.
func (l *listener) Close() error {
	l.link.mu.Lock()
	if l.link.on == l {
		l.link.on = nil
	}
	l.link.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.waiting {
		c.(*conn).cut()
	}
	l.waiting = nil
	l.poke()
	return nil
}

// Addr returns the address of every listener.
func (l *listener) Addr() net.Addr { return address }
