//go:build docker

// Package dockertest tests the images and compose files in real containers:
//
//	make docker-test
//
// It uses the Docker engine that runs. Where none does, and it is root on Debian,
// it installs one and starts it for itself, in a network and a mount namespace of
// its own, so that nothing of it is left afterwards but a cache of images. Public
// images are stood in for there by ones made of Debian packages and the local Go.
package dockertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of a test for an event that must come.
const patience = 90 * time.Second

// insideName is the variable of the test program that runs in the namespaces.
const insideName = "COMFYVISOR_DOCKER_TEST"

// The images under test: two of the Dockerfile, and one of somebody else, before
// and after the program was copied into it.
const (
	sim    = "comfyvisor-test:sim"
	binary = "comfyvisor-test:binary"
	worker = "comfyvisor-test:worker"
	dropIn = "comfyvisor-test:drop-in"
	s3     = "comfyvisor-test:s3"
)

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "docker-test:", err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cache, err := os.UserCacheDir()
	if err != nil {
		return 0, err
	}
	cache = filepath.Join(cache, "comfyvisor-test", "docker")
	if os.Getenv(insideName) == "" {
		if _, err := docker(ctx, "version"); err == nil {
			return runTests(ctx, m, publicImages)
		}
		if err := prepare(ctx, cache); err != nil {
			return 0, err
		}
		return runInside()
	}
	e, err := startEngine(ctx, cache)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.stop()) }()
	return runTests(ctx, m, func(ctx context.Context) (images, error) { return standIns(ctx, cache) })
}

// runInside runs this program again in namespaces of its own.
func runInside() (code int, err error) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideName+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err = cmd.Run() // signals of a terminal go to both
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// runTests builds the images and runs the tests with them.
func runTests(ctx context.Context, m *testing.M, find func(context.Context) (images, error)) (code int, err error) {
	begun := time.Now()
	bases, err := find(ctx)
	if err != nil {
		return 0, err
	}
	if err := buildImages(ctx, bases); err != nil {
		return 0, err
	}
	fmt.Printf("images are ready after %v\n", time.Since(begun).Round(time.Second))
	standing = bases
	defer func() { err = errors.Join(err, sweep()) }()
	return m.Run(), nil
}

// standing are the images that compose files are to use instead of public ones.
var standing images
