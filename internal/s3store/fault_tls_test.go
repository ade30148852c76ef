package s3store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/conntest"
)

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
			dial, plain := conntest.TLSServer(t, conntest.Certificate(t, tt.host, tt.until))
			s, _ := testStore(t, dial, func(c *Config) { c.EndpointURL = "https://minio.test/outputs" })
			_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
			e := expectError(t, err)
			want := "PutObject s3://outputs/" + e.Key + ": S3 did not answer: https://minio.test: tls: failed to verify certificate: " +
				tt.says + "; check BUCKET_ENDPOINT_URL and this machine's network"
			if got := conntest.Timeless(e.Error()); got != want {
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
	server.TLS = &tls.Config{Certificates: []tls.Certificate{conntest.Certificate(t, "minio.test", time.Now().Add(time.Hour))}}
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
		dial, open := conntest.Counted(pipe)
		s, _ := testStore(t, dial)
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
