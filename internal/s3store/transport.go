package s3store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 10 * time.Second
	// unsentLimit is how much of a body may wait in the kernel. Without a limit
	// megabytes do, and on a slow line the last byte is written minutes before
	// it is sent, in which nothing seems to move.
	unsentLimit = 128 << 10
	// answerGrace is how long an answer may take that came before a broken write.
	answerGrace = time.Second
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dial opens a connection to any address.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return dialGuarded(ctx, network, address, nil)
}

func dialGuarded(ctx context.Context, network, address string, guard Guard) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, ControlContext: func(ctx context.Context, network, address string, conn syscall.RawConn) error {
		if guard != nil {
			if err := guard(ctx, network, address, conn); err != nil {
				return err
			}
		}
		var limited error
		err := conn.Control(func(fd uintptr) {
			limited = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
		})
		return errors.Join(err, limited)
	}}
	return dialer.DialContext(ctx, network, address)
}

// newTransport speaks HTTP/1.1, one request at a time on a connection, so that
// a connection on which nothing moves means a request that has stalled.
func newTransport(idle time.Duration, dial dialFunc) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &idleConn{Conn: conn, idle: idle, closed: make(chan struct{})}, nil
		},
		TLSHandshakeTimeout: dialTimeout,
		// A store that does not know "Expect: 100-continue" gets the body late,
		// but gets it. Those that do refuse wrong keys before they are sent it.
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true,
		WriteBufferSize:        64 << 10,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// An idleConn fails when no byte has moved in either direction for a while,
// however long a transfer takes as a whole.
type idleConn struct {
	net.Conn
	idle    time.Duration
	stalled atomic.Bool
	closing sync.Once
	closed  chan struct{}
}

func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, c.explain(err)
	}
	n, err := c.Conn.Read(p)
	return n, c.explain(err)
}

// Write reports a broken connection only when the reader has had its chance. A
// store that refuses a request may answer and hang up while the body is still
// sent, and net/http drops the answer if it hears of the broken write first.
func (c *idleConn) Write(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, c.explain(err)
	}
	n, err := c.Conn.Write(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		timer := time.NewTimer(answerGrace)
		defer timer.Stop()
		select {
		case <-c.closed: // the reader came to the end and found no answer
		case <-timer.C:
		}
	}
	return n, c.explain(err)
}

func (c *idleConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// extend puts off the end of reads and writes alike: while a body is sent, a
// read waits for the answer all along.
func (c *idleConn) extend() error { return c.SetDeadline(time.Now().Add(c.idle)) }

// explain names a stall as the reason of whatever error it led to.
func (c *idleConn) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.stalled.Store(true)
	}
	if err != nil && c.stalled.Load() {
		return fmt.Errorf("no byte moved for %s: %w", c.idle, err)
	}
	return err
}
