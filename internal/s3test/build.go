package s3test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	module  = "github.com/versity/versitygw/cmd/versitygw"
	version = "v1.8.0"
)

// Build returns the path of the server's executable and makes it if it is not
// there yet.
func Build(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the built S3 server: %w", err)
	}
	dir := filepath.Join(cache, "comfyvisor-test", "versitygw-"+version)
	path := filepath.Join(dir, "versitygw")
	if exists(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a place for the built S3 server: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(path) {
		return path, nil
	}
	return path, install(ctx, dir, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// lock waits until no other process holds the file.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the build of the S3 server: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the build of the S3 server: %w", err), f.Close())
	}
	return f.Close, nil
}

// install builds elsewhere and moves the result into place, so that a build
// that was cut short leaves nothing that looks finished.
func install(ctx context.Context, dir, path string) error {
	bin, err := os.MkdirTemp(dir, "build")
	if err != nil {
		return fmt.Errorf("build the S3 server: %w", err)
	}
	defer os.RemoveAll(bin)
	cmd := exec.CommandContext(ctx, "go", "install", module+"@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	cmd.Dir = bin
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the S3 server for tests, which needs the Go module proxy once: go install %s@%s: %w\n%s", module, version, err, out)
	}
	return os.Rename(filepath.Join(bin, "versitygw"), path)
}
