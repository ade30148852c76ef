package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// replace ends the pod by a signal and starts another on the same disk: after
// SIGKILL the same container again, after SIGTERM a pod of another name.
func (s *soak) replace(sig syscall.Signal) {
	s.t.Helper()
	s.endWatch()
	s.signal(sig)
	code := s.exit()
	lawful := []int{exitDone, exitAbandoned}
	if sig == syscall.SIGKILL {
		lawful = []int{-1}
		s.killed++
	}
	if !slices.Contains(lawful, code) {
		s.wrong(soakExits, "after %v the exit code is %d, want one of %d:\n%s", sig, code, lawful, s.stdout.String())
	}
	if left := s.processes(); len(left) > 0 {
		s.wrong(soakReaped, "after %v processes are left: %v", sig, left)
	}
	s.age()
	s.pods++
	if sig == syscall.SIGTERM {
		s.env["RUNPOD_POD_ID"] = fmt.Sprintf("worker-%d", s.pods)
	}
	s.program = s.again()
	s.pending = nil
	s.lookAround()
	s.until("the new pod tells its state", func() bool {
		resp, err := client.Get(s.status + "/debug/state")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var state soakState
		return s.read(resp, &state) == 200 && len(state.Instances) > 0
	})
}

// age makes all that the last pod has left as old as it has to be for the next one
// to remove it: a pod that is killed cannot tidy up.
func (s *soak) age() {
	s.t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	for _, dir := range soakHouse() {
		left, err := filepath.Glob(filepath.Join(s.dir, dir))
		for _, name := range left {
			err = errors.Join(err, os.Chtimes(name, old, old))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// soakHouse are the patterns of all that jobs leave in ComfyUI's directories.
func soakHouse() []string { return []string{"output/comfyvisor/*", "input/*"} }

// again starts comfyvisor once more, with the log of the last one.
func (s *soak) again() *program {
	s.t.Helper()
	last := s.program
	p := &program{
		t: s.t, dir: last.dir, env: last.env, api: last.api, status: last.status,
		more: make(chan struct{}), ended: make(chan struct{}),
	}
	last.mu.Lock()
	p.lines, last.lines = last.lines, nil // the log is told once, by the last pod
	last.mu.Unlock()
	p.cmd = exec.Command(last.cmd.Args[0], last.cmd.Args[1:]...)
	p.cmd.Dir = p.dir
	for name, value := range p.env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.SysProcAttr = last.cmd.SysProcAttr
	p.run()
	return p
}
