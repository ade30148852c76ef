// Package conntest helps tests that are about connections: a TLS server whose
// certificate is no good, and a count of the connections that are open.
package conntest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Dial is what net.Dialer.DialContext is.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Certificate is one that nobody has signed but its own key.
func Certificate(t testing.TB, host string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// now is the part of a certificate's error that changes from run to run.
var now = regexp.MustCompile(`current time \S+`)

// Timeless returns the text of an error with NOW in place of the time.
func Timeless(text string) string { return now.ReplaceAllString(text, "current time NOW") }

// TLSServer takes TLS connections until the test ends, and counts those that begin
// as anything else. Dial reaches it whatever the address.
func TLSServer(t testing.TB, cert tls.Certificate) (dial Dial, plain *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	plain = new(atomic.Int64)
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				if first, err := in.Peek(1); err != nil || first[0] != tlsHandshake {
					plain.Add(1)
					return
				}
				_ = tls.Server(&peeked{conn, in}, config).Handshake() // the client is the one to judge
			})
		}
	})
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}, plain
}

// tlsHandshake is the first byte of a TLS connection.
const tlsHandshake = 0x16

// peeked is a connection of which something was read ahead.
type peeked struct {
	net.Conn
	in *bufio.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.in.Read(b) }

// Counted is dial, with the number of its connections that are open.
func Counted(dial Dial) (counting Dial, open *atomic.Int64) {
	open = new(atomic.Int64)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &counted{Conn: conn, open: open}, nil
	}, open
}

// counted is a connection that counts itself out when it is closed.
type counted struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *counted) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}
