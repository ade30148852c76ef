package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/worker"
)

// soakOfPod are those of the machine that the pod runs on.
func soakOfPod() []soakFault {
	asRoot := func(soakPodKind) bool { return os.Geteuid() == 0 }
	return []soakFault{
		{
			name: "disk full", weight: 4, strain: (*soak).fillDisk, lasts: 200 * time.Millisecond, spread: 800 * time.Millisecond,
			span: time.Second, causes: []string{worker.CauseDisk}, needs: func(k soakPodKind) bool { return k.disk },
		},
		{
			name: "no descriptors", weight: 2, strain: (*soak).takeDescriptors, lasts: 100 * time.Millisecond, spread: 600 * time.Millisecond,
			losses: 1, span: time.Second,
		},
		{name: "log is not read", weight: 2, strain: (*soak).leaveUnread, lasts: 200 * time.Millisecond, spread: 1300 * time.Millisecond},
		{name: "storm of orphans", weight: 1, strain: (*soak).storm, needs: asRoot},
	}
}

// fillDisk leaves no byte of the disk that has ComfyUI's outputs.
func (s *soak) fillDisk(lasts time.Duration) bool {
	s.t.Helper()
	name := s.inside("output/of-somebody-else.bin")
	f, err := os.Create(name)
	if err != nil {
		s.t.Fatal(err)
	}
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	full := errors.Is(err, syscall.ENOSPC)
	<-time.After(lasts)
	if err := errors.Join(f.Close(), os.Remove(name)); err != nil {
		s.t.Fatal(err)
	}
	return full
}

// takeDescriptors lets comfyvisor open no file and no connection.
func (s *soak) takeDescriptors(lasts time.Duration) bool {
	pid := s.cmd.Process.Pid
	before := limitFiles(s.t, pid, 3)
	<-time.After(lasts)
	limitFiles(s.t, pid, before)
	return true
}

// leaveUnread lets nobody read comfyvisor's log, for which its pipe has little room.
func (s *soak) leaveUnread(lasts time.Duration) bool {
	const little, much = 4 << 10, 64 << 10
	s.program.mu.Lock() // the reader wants it for each line
	defer s.program.mu.Unlock()
	s.pipe(func(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, little) }) // not while there is more in it
	<-time.After(lasts)
	unread := 0
	s.pipe(func(fd int) {
		unread, _ = unix.IoctlGetInt(fd, unix.TIOCINQ)
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, much)
	})
	return unread > little/2
}

// pipe calls f with the pipe that comfyvisor logs to.
func (s *soak) pipe(f func(fd int)) {
	raw, err := s.out.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		s.t.Error(err)
	}
}

// orphans is how many of them come at once in a storm.
const orphans = 60

// storm leaves processes behind in the pod's namespace, which all end soon.
func (s *soak) storm(time.Duration) bool {
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do (sleep 0.05 &); i=$((i+1)); done", orphans)
	cmd := exec.Command("nsenter", "-p", "-t", fmt.Sprint(s.cmd.Process.Pid), "/bin/sh", "-c", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Logf("no orphans: %v: %s", err, out)
		return false
	}
	return true
}
