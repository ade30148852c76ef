package main

import (
	"net/http"
	"strings"
	"testing"
)

// askRestart asks for a new ComfyUI and returns what is told.
func (p *program) askRestart(body string) string {
	p.t.Helper()
	var told struct{ Message string }
	if code := p.post("/restart", body, &told); code != http.StatusAccepted {
		p.t.Fatalf("POST /restart %s = %d, want 202", body, code)
	}
	return told.Message
}

// nextComfy waits for a ComfyUI after the one with a pid.
func (p *program) nextComfy(old int) int {
	p.t.Helper()
	next := 0
	p.wait("another ComfyUI is ready", func() bool {
		all := p.instances()
		next = all[0].PID
		return all[0].Ready && next != old
	})
	return next
}

// A restart that is asked for waits for the job at hand, and asking twice
// restarts once.
func TestRestartWaitsForTheJob(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	old := p.comfyPID()
	id := p.submit(slow(4, 1))
	p.waitLine("got prompt")
	for range 3 {
		if told := p.askRestart(`{"force":false}`); !strings.Contains(told, "when the running job") {
			t.Errorf("told %q", told)
		}
	}
	if a := p.result(id); a.Status != "COMPLETED" {
		t.Errorf("job = %+v", a)
	}
	next := p.nextComfy(old)
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("job after the restart = %+v", a)
	}
	if now := p.comfyPID(); now != next {
		t.Errorf("ComfyUI was restarted again")
	}
	if n := len(p.executions()); n != 2 {
		t.Errorf("%d executions, want one for each job", n)
	}
}

// A forced restart does not wait: the job at hand runs again on the new ComfyUI.
func TestForcedRestartRunsTheJobAgain(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	old := p.comfyPID()
	id := p.submit(slow(5, 1))
	p.waitLine("got prompt")
	p.askRestart(``) // waits for the job
	if told := p.askRestart(`{"force":true}`); !strings.Contains(told, "will run again") {
		t.Errorf("told %q", told)
	}
	for range 3 { // the same one
		p.askRestart(`{"force":true}`)
	}
	next := p.nextComfy(old)
	if a := p.result(id); a.Status != "COMPLETED" {
		t.Errorf("job = %+v", a)
	}
	if now := p.comfyPID(); now != next {
		t.Error("ComfyUI was restarted again")
	}
	var job struct{ Attempts int }
	if p.get(p.api+"/jobs/"+id, &job); job.Attempts != 2 {
		t.Errorf("attempts = %d, want 2", job.Attempts)
	}
}
