package runpod_test

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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// certificate is one that nobody has signed but its own key.
func certificate(t *testing.T, host string, until time.Time) tls.Certificate {
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

// tlsServer takes TLS connections, counts those that begin as anything else, and
// returns a way to reach it whatever the address.
func tlsServer(t *testing.T, cert tls.Certificate) (dial func(context.Context, string, string) (net.Conn, error), plain *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	plain = new(atomic.Int64)
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
				_ = tls.Server(&peeked{conn, in}, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
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

// clock is the part of an error that changes from run to run.
var clock = regexp.MustCompile(`current time \S+`)

// A certificate that is expired, of another host or of an unknown signer is an error that names host and reason; nothing is sent in the clear.
func TestFault_T5_CertificateOfTheQueue(t *testing.T) {
	future := time.Now().Add(time.Hour)
	tests := []struct {
		name, host string
		until      time.Time
		says       string
	}{
		{"expired", "queue.test", time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
			"x509: certificate has expired or is not yet valid: current time NOW is after 2020-01-02T03:04:05Z"},
		{"other host", "elsewhere.test", future,
			"x509: certificate is valid for elsewhere.test, not queue.test"},
		{"unknown signer", "queue.test", future,
			"x509: certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dial, plain := tlsServer(t, certificate(t, tt.host, tt.until))
			const url = "https://queue.test/v2/ep/job-take/hunter2"
			c, _ := start(t, runpod.Config{
				TakeURL: runpod.Template{URL: url}, DoneURL: runpod.Template{URL: url}, PingURL: runpod.Template{URL: url},
				APIKey: "hunter2", ResultDeadline: time.Millisecond, Dial: dial,
			})
			err := c.Done(t.Context(), completed("job"))
			if err == nil {
				t.Fatal("the result was delivered")
			}
			want := "https://queue.test: tls: failed to verify certificate: " + tt.says
			if got := clock.ReplaceAllString(err.Error(), "current time NOW"); !strings.HasSuffix(got, want) {
				t.Errorf("Done = %s\nwant it to end in %s", got, want)
			}
			takeInVain(t, c, 200*time.Millisecond)
			if n := plain.Load(); n > 0 {
				t.Errorf("%d connections were in the clear", n)
			}
		})
	}
}

// A connection that is not used is closed within 90 s, so that the queue's name is looked up again.
func TestFault_T3_IdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		defer q.Close()
		cfg := config(q)
		cfg.PingURL = runpod.Template{} // its heartbeat would use the connection
		var open atomic.Int64
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := q.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			open.Add(1)
			return &counted{Conn: conn, open: &open}, nil
		}
		c, err := runpod.New(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		q.Submit("job", `{}`)
		takeOne(t, c, "job")
		finish(t, c, completed("job"))
		if open.Load() == 0 {
			t.Fatal("no connection is kept")
		}
		<-time.After(90 * time.Second)
		synctest.Wait()
		if n := open.Load(); n != 0 {
			t.Errorf("%d connections are open after 90 s without use", n)
		}
	})
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
