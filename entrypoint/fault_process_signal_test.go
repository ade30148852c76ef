package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// firstRealTime is the first of the signals that have no meaning of their own.
const firstRealTime, lastSignal = 34, 64

// The first process is sent every signal that is not meant to stop it, from outside its namespace: it goes on serving, and ComfyUI is given none of them. SIGUSR1 logs the state, SIGHUP that there is nothing to read again.
func TestFault_P4_EverySignalButAStopIsSurvived(t *testing.T) {
	t.Parallel()
	p := newPatient(t, true, options{pid1: true})
	p.next("gate open")
	pid := p.comfyPID()
	for s := unix.SIGHUP; s <= lastSignal; s++ {
		switch s {
		case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGKILL, unix.SIGSTOP:
			continue
		}
		if s > unix.SIGSYS && s < firstRealTime {
			continue // the C library's own
		}
		p.signal(s)
		switch s {
		case unix.SIGHUP:
			p.next("signal ignored", "hangup")
		case unix.SIGUSR1:
			if line := p.next("INFO   state"); !strings.Contains(line, `"incarnation"`) {
				t.Errorf("SIGUSR1 logs %s", line)
			}
		}
		var health struct{ Status string }
		if code := p.get(p.status+"/healthz", &health); code != http.StatusOK {
			t.Errorf("after signal %d /healthz answers %d", s, code)
		}
	}
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("job after all signals: %+v", a)
	}
	if now := p.comfyPID(); now != pid {
		t.Errorf("ComfyUI was process %d and is %d: it got a signal", pid, now)
	}
}

// SIGTERM, SIGINT and SIGQUIT, sent to the first process from outside its namespace, stop it in order.
func TestFault_P4_StopSignalsStop(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGQUIT} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: local, pid1: true})
			p.waitReady()
			p.signal(s)
			if code := p.exit(); code != exitDone {
				t.Errorf("exit code = %d, want %d", code, exitDone)
			}
			p.waitsFor("told to stop", "process stopped", "comfyvisor ends")
		})
	}
}
