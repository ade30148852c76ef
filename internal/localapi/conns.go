package localapi

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
)

// A limiter is a listener that keeps at most max connections open. When one
// more arrives it closes the connection whose client has kept us waiting
// longest for a request, so that clients which send slowly, or nothing, cannot
// lock the others out. Clients that wait for an answer are never closed; when
// all do, the new connection is.
type limiter struct {
	net.Listener
	max int

	mu      sync.Mutex
	open    int
	waiting list.List // of *conn: we wait for the client, longest first
}

// A conn belongs to a limiter.
type conn struct {
	net.Conn
	limiter *limiter
	place   *list.Element // in waiting, nil while the client waits for an answer
	closed  bool
}

func (l *limiter) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(inner); c != nil {
			return c, nil
		}
		_ = inner.Close()
	}
}

func (l *limiter) admit(inner net.Conn) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.max {
		oldest := l.waiting.Front()
		if oldest == nil {
			return nil
		}
		_ = oldest.Value.(*conn).closeLocked() // what a dying connection says helps nobody
	}
	l.open++
	c := &conn{Conn: inner, limiter: l}
	c.place = l.waiting.PushBack(c)
	return c
}

// Close may be called more than once.
func (c *conn) Close() error {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	return c.closeLocked()
}

func (c *conn) closeLocked() error {
	if c.closed {
		return nil
	}
	c.closed = true
	c.limiter.open--
	c.leaveLocked()
	return c.Conn.Close()
}

// answering tells that the request is here and the client waits for us.
func (c *conn) answering() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.leaveLocked()
}

// idle tells that the answer has been sent.
func (c *conn) idle() {
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	if !c.closed && c.place == nil {
		c.place = c.limiter.waiting.PushBack(c)
	}
}

func (c *conn) leaveLocked() {
	if c.place != nil {
		c.limiter.waiting.Remove(c.place)
		c.place = nil
	}
}

// connState is the HTTP server's ConnState hook.
func connState(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		c.(*conn).idle()
	}
}

type connKey struct{}

// withConn is the HTTP server's ConnContext hook.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection of a request.
func connOf(r *http.Request) *conn { return r.Context().Value(connKey{}).(*conn) }
