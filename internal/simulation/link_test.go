package simulation

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

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

// darkness returns nil while what is sent arrives, and else what tells of a change.
func (l *link) darkness() (changes <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dark {
		return l.changed
	}
	return nil
}

// set makes the link dark, refusing, or neither.
func (l *link) set(dark, refusing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dark, l.refusing = dark, refusing
	close(l.changed)
	l.changed = make(chan struct{})
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

// forget lets go of a connection that was closed. In the dark its host keeps it: what
// was not delivered does not outlive the host.
func (l *link) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if c.host != nil && !l.dark {
		c.host.mu.Lock()
		defer c.host.mu.Unlock()
		delete(c.host.conns, c)
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
