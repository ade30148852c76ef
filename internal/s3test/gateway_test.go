package s3test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestStartRunsAServerThatKnowsItsBucket(t *testing.T) {
	gw := Start(t)
	res, err := http.Head(gw.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a request without keys got %s, want 403", res.Status)
	}
	if _, err := os.Stat(filepath.Dir(gw.Path("x"))); err != nil {
		t.Errorf("the bucket is no directory: %v", err)
	}
}

// Somebody without a network has to learn what to do, and a build that did not
// come to its end must not be taken for a server.
func TestInstallSaysThatItNeedsTheModuleProxy(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	dir := t.TempDir()
	path := filepath.Join(dir, "versitygw")
	err := install(context.Background(), dir, path)
	if err == nil || !strings.Contains(err.Error(), "Go module proxy") {
		t.Errorf("install without a proxy: %v, want a hint at the module proxy", err)
	}
	if exists(path) {
		t.Errorf("%s exists after a build that failed", path)
	}
}

func TestLockLetsOneInAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(path)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	var left atomic.Bool
	go func() {
		again, err := lock(path)
		if err == nil {
			if !left.Load() {
				t.Error("the second got in while the first was inside")
			}
			err = again()
		}
		second <- err
	}()
	left.Store(true)
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}
