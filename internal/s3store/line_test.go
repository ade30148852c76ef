package s3store

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A line is a TCP proxy that can be slow and can break once.
type line struct {
	listener net.Listener
	to       string
	pace     int64 // bytes a second towards the store, 0 for no limit
	cutAfter int64 // bytes towards the store, 0 for never
	cut      atomic.Bool

	wg    sync.WaitGroup
	ctx   context.Context
	conns sync.Map
}

func newLine(t *testing.T, to string, pace, cutAfter int64) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &line{listener: listener, to: to, pace: pace, cutAfter: cutAfter, ctx: ctx}
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		cancel()
		listener.Close()
		l.conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		l.wg.Wait()
	})
	return l
}

func (l *line) addr() string { return l.listener.Addr().String() }

func (l *line) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.conns.Store(client, nil)
		if l.pace > 0 {
			_ = client.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		store, err := net.Dial("tcp", l.to)
		if err != nil {
			client.Close()
			continue
		}
		l.conns.Store(store, nil)
		l.wg.Go(func() { l.forward(store, client); store.Close(); client.Close() })
		l.wg.Go(func() { _, _ = io.Copy(client, store); client.Close() })
	}
}

// forward carries what the client sends until it ends or is cut.
func (l *line) forward(store, client net.Conn) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	chunk := int64(64 << 10)
	if l.pace > 0 {
		chunk = l.pace / 50
	}
	for sent := int64(0); ; {
		n, err := io.CopyN(store, client, chunk)
		sent += n
		if err != nil || l.cutAfter > 0 && sent >= l.cutAfter && l.cut.CompareAndSwap(false, true) {
			return
		}
		if l.pace == 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
	}
}
