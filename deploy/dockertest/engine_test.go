//go:build docker

package dockertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// label marks the containers and networks of the tests.
const label = "comfyvisor-test=1"

// docker runs the client and returns what it wrote to its standard output.
func docker(ctx context.Context, args ...string) (string, error) {
	return command(ctx, nil, "docker", args...)
}

// command runs a program with some variables more and returns what it wrote to
// its standard output.
func command(ctx context.Context, env []string, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	// Debian's client has no plugin for the newer builder.
	cmd.Env = append(append(os.Environ(), "DOCKER_BUILDKIT=0"), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, tail(stderr.String(), 3000))
	}
	return stdout.String(), nil
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// An engine is a Docker engine of the tests' own.
type engine struct {
	cmd  *exec.Cmd
	dir  string // of its sockets
	lock *os.File
}

// startEngine starts one that keeps its images below cache. No two run at once.
func startEngine(ctx context.Context, cache string) (*engine, error) {
	// What the engine mounts must not be seen outside of this mount namespace.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if _, err := command(ctx, nil, "ip", "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	dir, err := os.MkdirTemp("", "docker-test-")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(cache, "dockerd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	e := &engine{dir: dir, lock: lock, cmd: exec.Command("dockerd", "--host", socket, "--data-root", filepath.Join(cache, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"))}
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a Docker engine: %w", err)
	}
	if err := os.Setenv("DOCKER_HOST", socket); err != nil {
		return nil, err
	}
	err = until(ctx, time.Minute, func() error { _, err := docker(ctx, "version"); return err })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a Docker engine, whose log is %s: %w", log.Name(), err), e.stop())
	}
	return e, nil
}

func (e *engine) stop() error {
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	stuck := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL) })
	defer stuck.Stop()
	_ = e.cmd.Wait() // its end is no news
	return errors.Join(os.RemoveAll(e.dir), e.lock.Close())
}

// sweep removes what the tests have left in the engine.
func sweep() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ids, err := docker(ctx, "ps", "-aq", "--filter", "label="+label)
	if left := strings.Fields(ids); len(left) > 0 {
		_, err = docker(ctx, append([]string{"rm", "-fv"}, left...)...)
	}
	_, pruned := docker(ctx, "network", "prune", "-f", "--filter", "label="+label)
	return errors.Join(err, pruned)
}

// until asks again and again, and returns the last error if that does not end in
// time.
func until(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
