package main

import (
	"net"
	"sync"
	"time"
)

// lines are the connections of the process, which can be spoilt. The zero value is
// ready for use.
type lines struct {
	mu    sync.Mutex
	open  map[*line]struct{}
	drips time.Time // until when a few bytes at a time pass
	mute  time.Time // until when nothing does
}

// A dripping line passes dripBytes every dripPause.
const (
	dripBytes = 512
	dripPause = 2 * time.Millisecond
)

// listen returns l with the lines of its connections in hand.
func (x *lines) listen(l net.Listener) net.Listener { return &listener{l, x} }

type listener struct {
	net.Listener
	lines *lines
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &line{conn, l.lines}
	l.lines.mu.Lock()
	defer l.lines.mu.Unlock()
	if l.lines.open == nil {
		l.lines.open = make(map[*line]struct{})
	}
	l.lines.open[c] = struct{}{}
	return c, nil
}

// spoil spoils all connections: how is reset, silent or drip.
func (x *lines) spoil(how string, lasts time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch until := time.Now().Add(lasts); how {
	case "silent":
		x.mute = until
	case "drip":
		x.drips = until
	case "reset":
		for c := range x.open {
			if tcp, ok := c.Conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a close is an end as well
			}
			_ = c.Conn.Close()
		}
	}
}

// wait returns when something may pass, and whether only a little may.
func (x *lines) wait() (drips bool) {
	x.mu.Lock()
	mute := time.Until(x.mute)
	x.mu.Unlock()
	<-time.After(mute)
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.Now().Before(x.drips)
}

// A line is one of the connections.
type line struct {
	net.Conn
	lines *lines
}

func (c *line) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.lines.wait()
	return n, err
}

func (c *line) Write(p []byte) (sent int, err error) {
	for sent < len(p) {
		piece := p[sent:]
		if c.lines.wait() && len(piece) > dripBytes {
			piece = piece[:dripBytes]
		}
		n, err := c.Conn.Write(piece)
		sent += n
		if err != nil {
			return sent, err
		}
		if sent < len(p) {
			<-time.After(dripPause)
		}
	}
	return sent, nil
}

func (c *line) Close() error {
	c.lines.mu.Lock()
	delete(c.lines.open, c)
	c.lines.mu.Unlock()
	return c.Conn.Close()
}
