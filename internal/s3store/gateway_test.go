package s3store

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// gatewayStore returns a store of the gateway's bucket. All its connections go
// to via, whatever their URL says.
func gatewayStore(t *testing.T, gw *s3test.Gateway, via string, change ...func(*Config)) *Store {
	t.Helper()
	to := func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "tcp", via) }
	s, _ := testStore(t, to, append([]func(*Config){func(c *Config) {
		c.EndpointURL, c.AccessKeyID, c.SecretAccessKey = gw.Endpoint(), gw.AccessKey, gw.SecretKey
	}}, change...)...)
	return s
}

// fetch gets a link from the gateway as a client would, without keys.
func fetch(t *testing.T, gw *s3test.Gateway, link string) (*http.Response, []byte) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, "tcp", gw.Addr) }}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
	return data
}

// openUploads is how many uploads in parts the store holds unfinished.
func openUploads(t *testing.T, s *Store) int {
	t.Helper()
	out, err := s.client.ListMultipartUploads(context.WithoutCancel(t.Context()), &s3.ListMultipartUploadsInput{Bucket: s.bucket()})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Uploads)
}

func TestGateway(t *testing.T) {
	gw := s3test.Start(t)

	t.Run("Check", func(t *testing.T) {
		if err := gatewayStore(t, gw, gw.Addr).Check(t.Context()); err != nil {
			t.Error(err)
		}
	})

	styles := map[string]func(*Config){
		"path":         func(*Config) {},
		"virtual host": func(c *Config) { c.EndpointURL, c.BucketName, c.PathStyle = gw.VirtualEndpoint(), gw.Bucket, "virtual" },
		"parts":        func(c *Config) { c.WholeSize, c.PartSize = 1<<20, 5<<20 },
		"virtual in parts": func(c *Config) {
			c.EndpointURL, c.BucketName, c.PathStyle = gw.VirtualEndpoint(), gw.Bucket, "virtual"
			c.WholeSize, c.PartSize = 1<<20, 5<<20
		},
	}
	data := randomBytes(6 << 20)
	for name, style := range styles {
		t.Run("what is put can be fetched by its link, "+name, func(t *testing.T) {
			s := gatewayStore(t, gw, gw.Addr, style)
			file := bytesFile("ComfyUI_00001_.png", data)
			file, err := s.Put(t.Context(), name, 0, file)
			if err != nil {
				t.Fatal(err)
			}
			res, body := fetch(t, gw, file.URL)
			if res.StatusCode != http.StatusOK || !bytes.Equal(body, data) || res.Header.Get("Content-Type") != "image/png" {
				t.Errorf("GET %s: %s, %s, %d bytes; want 200, image/png and the file", file.URL, res.Status, res.Header.Get("Content-Type"), len(body))
			}
			plain, _, _ := strings.Cut(file.URL, "?")
			if res, _ := fetch(t, gw, plain); res.StatusCode != http.StatusForbidden {
				t.Errorf("GET without the signature: %s, want 403", res.Status)
			}
		})
	}

	t.Run("a wrong region is corrected", func(t *testing.T) {
		s := gatewayStore(t, gw, gw.Addr, func(c *Config) { c.Region = "eu-west-3" })
		file, err := s.Put(t.Context(), "region", 0, bytesFile("a.png", data))
		if err != nil {
			t.Fatal(err)
		}
		if res, _ := fetch(t, gw, file.URL); res.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %s", file.URL, res.Status)
		}
	})
	t.Run("an empty file", func(t *testing.T) {
		file, err := gatewayStore(t, gw, gw.Addr).Put(t.Context(), "empty", 0, bytesFile("a.txt", nil))
		if err != nil {
			t.Fatal(err)
		}
		if res, body := fetch(t, gw, file.URL); res.StatusCode != http.StatusOK || len(body) != 0 {
			t.Errorf("GET %s: %s, %q", file.URL, res.Status, body)
		}
	})
}

// Wrong keys and missing buckets are told as what they are by a real store.
func TestFault_S2_RealRefusals(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	tests := []struct {
		name   string
		change func(*Config)
		code   string
	}{
		// AWS would say InvalidAccessKeyId.
		{"wrong key id", func(c *Config) { c.AccessKeyID = testAccess }, "XAdminUserNotFound"},
		{"wrong secret", func(c *Config) { c.SecretAccessKey = testSecret }, "SignatureDoesNotMatch"},
		{"no such bucket", func(c *Config) { c.EndpointURL = "http://" + gw.Addr + "/nowhere" }, "NoSuchBucket"},
	}
	for _, tt := range tests {
		for _, size := range []int{10, 4 << 20} { // without and with "Expect: 100-continue"
			t.Run(tt.name, func(t *testing.T) {
				s := gatewayStore(t, gw, gw.Addr, tt.change)
				_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", make([]byte, size)))
				if e := expectError(t, err); e.Code != tt.code || e.Attempts != 1 {
					t.Errorf("%d bytes: %v, %d attempts; want %s, 1", size, e, e.Attempts, tt.code)
				}
				if err := s.Check(t.Context()); err == nil {
					t.Error("Check found nothing wrong")
				}
			})
		}
	}
}

// Names with every kind of character arrive under the very key that the link
// names, and nothing is written outside the prefix.
func TestFault_S8_RealKeys(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	s := gatewayStore(t, gw, gw.Addr, func(c *Config) { c.KeyTemplate = "out/{job_id}/{filename}" })
	for i, file := range []job.File{
		{Filename: "a b+c&d=e;f@g:h,i!j'k(l)*$.png"},
		{Filename: "50%25?x=1#y.png"},
		{Filename: "絵 ä é 😀.png", Subfolder: "sub/ordner ü"},
		{Filename: "../../../escape.png", Subfolder: "../.."},
		{Filename: "a\x00\r\nb\\c.png"},
		{Filename: strings.Repeat("日", 300) + ".png"},
	} {
		data := []byte(file.Filename)
		file.Content = bytesFile("", data).Content
		stored, err := s.Put(t.Context(), "../job/1", i, file)
		if err != nil {
			t.Errorf("Put %q: %v", file.Filename, err)
			continue
		}
		if res, body := fetch(t, gw, stored.URL); res.StatusCode != http.StatusOK || !bytes.Equal(body, data) {
			t.Errorf("GET %s: %s, %q; want %q", stored.URL, res.Status, body, data)
		}
		onDisk := gw.Path(s.keys.key(time.Now(), "../job/1", i, file))
		if got, err := os.ReadFile(onDisk); err != nil || !bytes.Equal(got, data) {
			t.Errorf("object on disk: %v, %q", err, got)
		}
	}
	outside, err := filepath.Glob(gw.Path("[^.]*"))
	if err != nil || len(outside) != 1 || filepath.Base(outside[0]) != "out" {
		t.Errorf("the bucket holds %q, %v; want out alone", outside, err)
	}
}

// Connections that break in the middle cost attempts and nothing else, in one
// piece and in parts.
func TestFault_S1_BrokenConnections(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	data := randomBytes(12 << 20)
	for name, change := range map[string]func(*Config){
		"whole": func(*Config) {},
		"parts": func(c *Config) { c.WholeSize, c.PartSize, c.Concurrency = 1<<20, 5<<20, 2 },
	} {
		t.Run(name, func(t *testing.T) {
			line := newLine(t, gw.Addr, 0, 2<<20)
			s := gatewayStore(t, gw, line.addr(), change)
			file := bytesFile("a.mp4", data)
			if _, err := s.Put(t.Context(), name, 0, file); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(gw.Path(s.keys.key(time.Now(), name, 0, file)))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("the stored object differs from the file: %d bytes, %v", len(got), err)
			}
			if !line.cut.Load() {
				t.Error("no connection was cut")
			}
			if n := openUploads(t, s); n != 0 {
				t.Errorf("%d uploads are left open", n)
			}
		})
	}
}

// An upload in parts that is cancelled half-way leaves nothing in a real store.
func TestFault_S5_RealStoreIsLeftClean(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	s := gatewayStore(t, gw, gw.Addr, func(c *Config) { c.WholeSize, c.PartSize, c.Concurrency = 1<<20, 5<<20, 1 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	data := randomBytes(20 << 20)
	file := bytesFile("a.mp4", data)
	opened := 0
	file.Content.Open = func() (io.ReadCloser, error) {
		if opened++; opened == 4 { // the second part is about to be sent
			if n := openUploads(t, s); n != 1 {
				t.Errorf("%d uploads are open half-way, want 1", n)
			}
			cancel()
		}
		return io.NopCloser(bytes.NewReader(data)), nil
	}
	if _, err := s.Put(ctx, "job-1", 0, file); err != context.Canceled && !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("Put: %v, want the cancellation", err)
	}
	if n := openUploads(t, s); n != 0 {
		t.Errorf("%d uploads are left open", n)
	}
}

// On a slow line what matters is that bytes move: the kernel must not swallow
// the file and then look idle for longer than the timeout.
func TestFault_S9_SlowLineIsNotIdle(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	line := newLine(t, gw.Addr, 512<<10, 0)
	const idle = 2 * time.Second
	s := gatewayStore(t, gw, line.addr(), func(c *Config) { c.IdleTimeout, c.Attempts = idle, 1 })
	data := randomBytes(5 << 19)
	file := bytesFile("a.mp4", data)
	began := time.Now()
	if _, err := s.Put(t.Context(), "slow", 0, file); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*idle {
		t.Errorf("it took %s: the line was not slow", took)
	}
	got, err := os.ReadFile(gw.Path(s.keys.key(time.Now(), "slow", 0, file)))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the stored object differs from the file: %d bytes, %v", len(got), err)
	}
}
