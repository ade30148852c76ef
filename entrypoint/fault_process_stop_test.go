package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A stop that comes at any moment of the start, before the child exists or between its start and the first probe, ends the program, and no process is left.
func TestFault_P15_StopAtAnyMomentOfTheStart(t *testing.T) {
	t.Parallel()
	runs := 20
	if *long {
		runs = 500
	}
	r := rand.New(rand.NewPCG(15, 0))
	for range 4 {
		moments := make([]time.Duration, runs/4)
		for i := range moments {
			moments[i] = time.Duration(r.Int64N(int64(150 * time.Millisecond)))
		}
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for _, after := range moments {
				stopEarly(t, after)
			}
		})
	}
}

// stopEarly starts a program, stops it after a moment, and looks for what is
// left of it.
func stopEarly(t *testing.T, after time.Duration) {
	t.Helper()
	p := start(t, options{env: local})
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
		p.signal(unix.SIGTERM)
	case <-p.ended:
	}
	// Until it takes signals it is a process like any other, which SIGTERM kills.
	if code := p.exit(); code != exitDone && code != -1 {
		t.Errorf("stopped after %v it ends with %d:\n%s", after, code, p.log())
	}
	if left := p.left(); len(left) > 0 {
		t.Errorf("stopped after %v: processes %v are left", after, left)
	}
}

// left are the processes that have the program's environment, of which nothing
// may be left when it has ended.
func (p *program) left() (left []string) {
	p.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(files) == 0 {
		p.t.Fatalf("no processes at all: %v", err)
	}
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err == nil && bytes.Contains(environ, []byte("\x00HOME="+p.dir+"\x00")) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			left = append(left, file+" "+string(command))
		}
	}
	return left
}
