package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be comfyvisor itself, so that tests from outside
// run the very code under test, with the race detector if it is on.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == decoyCommand {
		main() // started by a comfyvisor that is a test binary
	}
	switch os.Getenv(asProgram) {
	case "1":
		main()
	case inNamespace:
		err := enterNamespace()
		fmt.Fprintln(os.Stderr, "become comfyvisor in a namespace:", err)
		os.Exit(1)
	}
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10") // by default it holds up the end of each program for a second
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "comfyvisor-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// inNamespace is the value of asProgram in a new PID namespace.
const inNamespace = "namespace"

// enterNamespace gives the namespace a /proc of its own, as a container has it,
// and what else is to be mounted, and replaces the process by comfyvisor, whose
// environment has no variables without a value. It returns only if it cannot.
func enterNamespace() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := makeMounts(os.Getenv(mounts)); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	env := []string{asProgram + "=1"}
	for _, s := range os.Environ() {
		if name, value, _ := strings.Cut(s, "="); name != asProgram && name != mounts && value != "" {
			env = append(env, s)
		}
	}
	return unix.Exec(self, os.Args, env)
}
