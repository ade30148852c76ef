package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A Gateway is a running S3 server with one empty bucket.
type Gateway struct {
	Addr      string // host and port on which it listens
	Bucket    string
	Region    string
	AccessKey string
	SecretKey string
	// Domain is the name under which buckets are hosts: <bucket>.<Domain>. It
	// is in no DNS, so requests to it have to be dialed at Addr.
	Domain string

	dir string // of the buckets
}

// Endpoint is the address of the bucket, in path style.
func (g *Gateway) Endpoint() string { return "http://" + g.Addr + "/" + g.Bucket }

// VirtualEndpoint is the address of the bucket as a host of its own.
func (g *Gateway) VirtualEndpoint() string { return "http://" + g.Bucket + "." + g.Domain }

// Path is the file in which the server keeps an object of the bucket.
func (g *Gateway) Path(key string) string {
	return filepath.Join(g.dir, g.Bucket, filepath.FromSlash(key))
}

const (
	startTries   = 3
	startTimeout = 30 * time.Second
)

// Start runs a server until the test ends.
func Start(tb testing.TB) *Gateway {
	tb.Helper()
	path, err := Build(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	g := &Gateway{
		Bucket:    "comfy-outputs",
		Region:    "us-east-1",
		AccessKey: "s3test-access-key",
		SecretKey: "s3test-secret-key-0123456789",
		Domain:    "s3.us-east-1.versity.test",
		dir:       tb.TempDir(),
	}
	if err := os.Mkdir(filepath.Join(g.dir, g.Bucket), 0o755); err != nil {
		tb.Fatalf("make the bucket: %v", err)
	}
	meta := tb.TempDir()
	// A free port may be taken by somebody else before the server has it.
	for range startTries {
		if err = g.start(tb, path, meta); err == nil {
			return g
		}
	}
	tb.Fatal(err)
	return nil
}

// start runs one server process and returns when it answers.
func (g *Gateway) start(tb testing.TB, path, meta string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	g.Addr = addr
	var output bytes.Buffer
	cmd := exec.Command(path,
		"--port", addr, "--access", g.AccessKey, "--secret", g.SecretKey, "--region", g.Region,
		"--virtual-domain", g.Domain, "--health", "/health", "--keep-alive", "--quiet",
		"posix", "--sidecar", meta, g.dir)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the S3 server: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // its end is no news: we kill it
	}()
	stop := func() {
		_ = cmd.Process.Kill()
		<-exited
	}
	if err := answers(tb.Context(), addr, exited); err != nil {
		stop()
		return fmt.Errorf("start the S3 server on %s: %w\n%s", addr, err, output.Bytes())
	}
	tb.Cleanup(stop)
	return nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// answers waits until the server says that it is well.
func answers(ctx context.Context, addr string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health", nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-again.C:
		case <-exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it did not answer: %w", errors.Join(ctx.Err(), err))
		}
	}
}
