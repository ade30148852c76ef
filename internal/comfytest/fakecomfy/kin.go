package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// childFlag, as the first argument, makes the program a child of a node.
const childFlag = "--sim-child"

// childLife is how long a child lives if nobody ends it, so that a test that
// fails leaves nothing behind.
const childLife = 2 * time.Minute

// fork starts a child that nobody waits for.
func fork(c comfytest.Child) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, null, null}
	if c.HoldStdout {
		files = []*os.File{null, os.Stdout, os.Stderr}
	}
	p, err := os.StartProcess(self, []string{self, childFlag, strconv.Itoa(c.Port)}, &os.ProcAttr{
		Env: os.Environ(), Files: files, Sys: &syscall.SysProcAttr{Setsid: c.Setsid},
	})
	if err != nil {
		return err
	}
	return p.Release()
}

// child lives, and holds a port if it is given one.
func child(args []string) {
	if port, err := strconv.Atoi(args[0]); err == nil && port != 0 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			os.Exit(1)
		}
		defer l.Close()
	}
	<-time.After(childLife)
}

// dieBy ends the process by a signal. The Go runtime handles most of those
// that stand for a crash, so a shell takes its place, which has the default
// actions, and sends the signal to itself.
func dieBy(sig syscall.Signal) {
	if sig != syscall.SIGKILL {
		script := fmt.Sprintf("kill -%d $$", int(sig))
		_ = syscall.Exec("/bin/sh", []string{"sh", "-c", script}, os.Environ())
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// reboot is what ComfyUI-Manager does to load new nodes: exit code 0 and a
// marker file when a launcher asked for that, and a start in place when not.
func (p *process) reboot() {
	if session := os.Getenv("__COMFY_CLI_SESSION__"); session != "" {
		if f, err := os.Create(session + ".reboot"); err == nil {
			f.Close()
		}
		os.Exit(0)
	}
	self, err := os.Executable()
	if err != nil {
		os.Exit(1)
	}
	_ = syscall.Exec(self, append([]string{self}, p.args...), os.Environ())
	os.Exit(1)
}
