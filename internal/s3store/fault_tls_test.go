package s3store

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
	"net/http/httptest"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
func tlsServer(t *testing.T, cert tls.Certificate) (dialFunc, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	plain := new(atomic.Int64)
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
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, l.Addr().String())
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

// A store whose certificate is expired, of another host or of an unknown signer gets no file: the error names host and reason, is not repeated, and nothing is sent in the clear.
func TestFault_T5_CertificateOfTheStore(t *testing.T) {
	future := time.Now().Add(time.Hour)
	tests := []struct {
		name, host string
		until      time.Time
		says       string
	}{
		{"expired", "minio.test", time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
			"x509: certificate has expired or is not yet valid: current time NOW is after 2020-01-02T03:04:05Z"},
		{"other host", "elsewhere.test", future,
			"x509: certificate is valid for elsewhere.test, not minio.test"},
		{"unknown signer", "minio.test", future,
			"x509: certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dial, plain := tlsServer(t, certificate(t, tt.host, tt.until))
			s, _ := testStore(t, dial, func(c *Config) { c.EndpointURL = "https://minio.test/outputs" })
			_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
			e := expectError(t, err)
			want := "PutObject s3://outputs/" + e.Key + ": S3 did not answer: https://minio.test: tls: failed to verify certificate: " +
				tt.says + "; check BUCKET_ENDPOINT_URL and this machine's network"
			if got := clock.ReplaceAllString(e.Error(), "current time NOW"); got != want {
				t.Errorf("error %s\nwant  %s", got, want)
			}
			if e.Attempts != 1 || e.Retryable() || plain.Load() > 0 {
				t.Errorf("%d attempts, retryable %t, %d connections in the clear", e.Attempts, e.Retryable(), plain.Load())
			}
		})
	}
}

// The twin: with a certificate of this host and from a known signer the file is stored.
func TestFault_T5_TwinKnownSignerIsTrusted(t *testing.T) {
	fake, _ := newFake(t)
	server := httptest.NewUnstartedServer(fake)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, "minio.test", time.Now().Add(time.Hour))}}
	server.StartTLS()
	t.Cleanup(server.Close)
	transport := newTransport(defaultIdle, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, server.Listener.Addr().String())
	})
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	transport.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	s, _ := testStore(t, nil, func(c *Config) {
		c.EndpointURL, c.Transport = "https://minio.test/outputs", transport
	})
	if _, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png"))); err != nil {
		t.Fatal(err)
	}
	if _, o := fake.only(); string(o.data) != "png" {
		t.Errorf("the store holds %q", o.data)
	}
}

// A connection that is not used is closed within 90 s, so that the store's name is looked up again.
func TestFault_T3_IdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, pipe := newFake(t)
		var open atomic.Int64
		s, _ := testStore(t, func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := pipe(ctx, network, address)
			if err == nil {
				open.Add(1)
				conn = &counted{Conn: conn, open: &open}
			}
			return conn, err
		})
		if _, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png"))); err != nil {
			t.Fatal(err)
		}
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
