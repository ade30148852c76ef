package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// afflict changes what goes wrong with the ComfyUI that runs now.
func (p *program) afflict(faults string) {
	p.t.Helper()
	resp, err := client.Post("http://127.0.0.1:"+p.env["COMFY_PORT"]+"/sim/faults", "application/json", strings.NewReader(faults))
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("set faults: %s", resp.Status)
	}
}

// The thread that executes prompts dies, and tells it on stderr: ComfyUI is
// replaced at once, not after the stall limit of minutes, and the next job runs.
func TestFault_L4_DeadPromptWorkerIsHeard(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	a := p.job(simulated("SimDie", `{"how":"keyboardinterrupt"}`))
	if a.Status != "FAILED" || !strings.Contains(a.Error, "prompt worker is dead") {
		t.Errorf("answer = %+v", a)
	}
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("next job: %+v", a)
	}
}

// A ComfyUI in its last throes accepts connections and answers nothing: the job
// at hand waits for its end, and runs again on the next one.
func TestFault_L4_HalfDeadProcessIsReplaced(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "SIMCOMFY_TEARDOWN", "500ms")})
	p.waitReady()
	pid := p.comfyPID()
	id := p.submit(slow(1, 1))
	p.waitLine("comfyui |", "got prompt")
	p.afflict(`[{"on":"process","do":"teardown"}]`)
	p.waitLine("process exited", "exited with code 0")
	if a := p.result(id); a.Status != "COMPLETED" {
		t.Errorf("answer = %+v", a)
	}
	if now := p.comfyPID(); now == pid {
		t.Error("it is still the same process")
	}
}

// A ComfyUI in its last throes that never comes to its end is found by its silence
// and killed, and the job at hand runs again on the next one.
func TestFault_L4_HalfDeadForEverIsReplaced(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "SIMCOMFY_TEARDOWN", "1h", "COMFY_STOP_GRACE", "200ms",
		"LIVENESS_INTERVAL", "100ms", "LIVENESS_FAILURES", "2", "LIVENESS_SILENCE", "1s")})
	p.waitReady()
	id := p.submit(slow(1, 1))
	p.waitLine("comfyui |", "got prompt")
	p.afflict(`[{"on":"process","do":"teardown"}]`)
	// The simulated one would still read requests, which Python does not at this point.
	if err := syscall.Kill(p.comfyPID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p.waitLine("process exited", "showed no sign of life")
	if a := p.result(id); a.Status != "COMPLETED" {
		t.Errorf("answer = %+v", a)
	}
}

// Something in ComfyUI goes on using the processor and reading the disk while
// ComfyUI itself answers nothing, for ever: it is replaced when it has said
// nothing for LIVENESS_LIMIT, although it shows signs of life, and the job at
// hand runs again on the next one.
func TestFault_L4_BusyButMuteIsReplaced(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "SIMCOMFY_TEARDOWN", "1h", "COMFY_STOP_GRACE", "200ms",
		"LIVENESS_INTERVAL", "100ms", "LIVENESS_FAILURES", "2", "LIVENESS_SILENCE", "1h", "LIVENESS_LIMIT", "2s")})
	p.waitReady()
	id := p.submit(slow(1, 1))
	p.waitLine("comfyui |", "got prompt")
	p.afflict(`[{"on":"process","do":"teardown"}]`)
	p.waitLine("process exited", "raise LIVENESS_LIMIT")
	if a := p.result(id); a.Status != "COMPLETED" {
		t.Errorf("answer = %+v", a)
	}
}
