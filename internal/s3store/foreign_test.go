package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// foreign returns the settings of a bucket that a job brought.
func foreign(endpoint string, guard Guard) Config {
	return Config{
		EndpointURL: endpoint, AccessKeyID: testAccess, SecretAccessKey: testSecret, BucketName: "theirs",
		Field: "s3Config", Guard: guard, Attempts: 2,
	}
}

// deaf is an address that refuses connections, and that nobody else gets meanwhile.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}

// A job's bucket is connected to only where the guard lets it, whatever its name
// resolves to, and the error does not tell a refusal from a port where nobody
// listens.
func TestFault_S10_AddressesAreJudged(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reached.Add(1) }))
	defer server.Close()
	nobody := "http://" + deaf(t)

	var judged atomic.Int64
	refuse := func(_ context.Context, _, address string, _ syscall.RawConn) error {
		judged.Add(1)
		return errors.New("canary: " + address + " is private")
	}
	pass := func(context.Context, string, string, syscall.RawConn) error { return nil }
	put := func(endpoint string, guard Guard) error {
		s, err := New(foreign(endpoint, guard), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		_, err = s.Put(t.Context(), "job-1", 0, bytesFile("a.png", nil))
		return err
	}
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	refused, closed := expectError(t, put(server.URL, refuse)).Error(), expectError(t, put(nobody, pass)).Error()
	if refused != closed || !strings.Contains(refused, "not a public address") {
		t.Errorf("the errors differ:\n refused: %s\n nobody:  %s", refused, closed)
	}
	if byName := put("http://localhost:"+port, refuse); byName == nil || byName.Error() != refused {
		t.Errorf("by name the error is %v", byName)
	}
	if reached.Load() != 0 || judged.Load() < 2 {
		t.Errorf("%d requests reached the server, %d addresses were judged", reached.Load(), judged.Load())
	}
	// The twin: a guard that lets the address pass.
	if err := put(server.URL, pass); err != nil || reached.Load() == 0 {
		t.Errorf("with the guard open: %v, %d requests", err, reached.Load())
	}
}

// Errors about a job's bucket name the job's fields, and no variable.
func TestFault_S10_ErrorsSpeakOfFields(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no bucket", func(c *Config) { c.BucketName = "" }, "s3Config.endpointUrl names no bucket: append it, like http://minio.test/my-bucket, or set s3Config.bucketName"},
		{"two buckets", func(c *Config) { c.EndpointURL += "/other" }, "s3Config.endpointUrl and s3Config.bucketName name different buckets, other and theirs: keep one of them"},
		{"folder", func(c *Config) { c.EndpointURL += "/a/b" }, `s3Config.endpointUrl names a folder, "a/b", where only a bucket may stand: leave it out`},
		{"no keys, no address", func(c *Config) { c.AccessKeyID, c.SecretAccessKey, c.EndpointURL = "", " ", "minio" }, "s3Config.accessId is not set; s3Config.accessSecret has a blank or a line break in it: copy the key again; s3Config.endpointUrl is not a web address: write it like https://s3api-eu-ro-1.runpod.io/my-bucket or https://my-bucket.s3.eu-west-1.amazonaws.com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := foreign("http://minio.test", nil)
			tt.change(&cfg)
			if _, err := New(cfg, zap.NewNop()); err == nil || err.Error() != tt.want {
				t.Errorf("New:\n got %v\nwant %s", err, tt.want)
			}
		})
	}
	for code, want := range map[string]string{
		"InvalidAccessKeyId":           "check s3Config.accessId and s3Config.accessSecret",
		"NoSuchBucket":                 "check the bucket in s3Config.endpointUrl or s3Config.bucketName",
		"AuthorizationHeaderMalformed": "name the region in s3Config.endpointUrl",
	} {
		fake, dial := newFake(t)
		fake.fault = always(400, code)
		s, _ := testStore(t, dial, func(c *Config) { c.Field = "s3Config" })
		_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", nil))
		if text := expectError(t, err).Error(); !strings.Contains(text, want) || strings.Contains(text, "BUCKET_") || strings.Contains(text, "AWS_") {
			t.Errorf("%s: error\n got %s\nwant %q in it and no variable", code, text, want)
		}
	}
}

// An answer without an end takes no more memory than a long one.
func TestFault_S10_EndlessAnswers(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"error": http.StatusForbidden, "success": http.StatusOK} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(status)
				chunk := bytes.Repeat([]byte("<a>"), 100_000)
				for r.Context().Err() == nil && sent.Load() < 1<<30 {
					n, err := w.Write(chunk)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			}))
			defer server.Close()
			cfg := foreign(server.URL, nil)
			cfg.WholeSize = 1 // the start of an upload in parts has an answer with a body
			s, err := New(cfg, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, err = s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
			expectError(t, err)
			if got := sent.Load(); got > 64<<20 {
				t.Errorf("%d MB of an answer were taken", got>>20)
			}
		})
	}
}
