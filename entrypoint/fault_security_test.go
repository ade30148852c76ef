package main

import (
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// When comfyvisor itself is killed, which only something outside the container or a fatal fault of Go's runtime can do, nothing of the pod lives on beside its replacement, and the queue's lease hands the job out again.
func TestFault_P13_DeathOfPID1TakesEverythingAlong(t *testing.T) {
	t.Parallel()
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: "rpa_test_key_0123456789"})
	p := start(t, options{env: q.Env(), pid1: true})
	q.Submit("a", slow(600, 1))
	p.waitLine("got prompt")
	address := net.JoinHostPort("127.0.0.1", p.env["COMFY_PORT"])
	if c, err := net.Dial("tcp", address); err != nil {
		t.Fatalf("ComfyUI does not listen while it works: %v", err)
	} else {
		c.Close()
	}
	p.signal(syscall.SIGKILL)
	p.exit()
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("ComfyUI lives on without its supervisor")
	}
	if job := q.Job("a"); job.Outcome != nil || len(job.Handouts) != 1 {
		t.Errorf("the job was ended by nobody: %+v", job)
	}
}

// A node that knows the local API cannot use it: the token is not in its environment, and requests without it are refused.
func TestFault_X8_NodeCannotForgeJobs(t *testing.T) {
	t.Parallel()
	const token = "token-that-only-clients-know"
	p := start(t, options{env: with(local, "API_TOKEN", token)})
	p.waitReady()
	send := func(authorization string) (int, string) {
		body := `{"input":` + simulated("SimEnv", `{}`) + `}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.api+"/runsync", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Status string
			Output struct {
				Values map[string]struct{ Text []string }
			}
		}
		code := p.read(resp, &a)
		var environ []string
		for _, v := range a.Output.Values {
			environ = append(environ, v.Text...)
		}
		return code, strings.Join(environ, "\n")
	}
	code, environ := send("Bearer " + token)
	if code != http.StatusOK || !strings.Contains(environ, "COMFY_HOME=") {
		t.Fatalf("with the token: %d, and the node saw %q", code, environ)
	}
	if strings.Contains(environ, token) {
		t.Error("the token is in the environment of nodes")
	}
	for _, forged := range []string{"", "Bearer ", "Bearer wrong", token[1:]} {
		if code, _ := send(forged); code != http.StatusUnauthorized {
			t.Errorf("authorization %q: %d, want %d", forged, code, http.StatusUnauthorized)
		}
	}
}

// What a job does to ComfyUI meets no other job where REFRESH_WORKER is set: with the local API the next one has a fresh process, and on the queue the pod ends after each.
func TestFault_X7_RefreshIsTheBoundary(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "REFRESH_WORKER", "true")})
	p.waitReady()
	p.job(picture(1)).wantDone(t)
	p.job(picture(2)).wantDone(t)
	p.waitLine("process running", `"incarnation": 2`)
	p, q := queued(t, runpodtest.Config{Hold: time.Second}, "REFRESH_WORKER", "true")
	q.Submit("a", picture(1))
	q.Submit("b", picture(2))
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
	if runs := p.executions(); len(runs) != 1 {
		t.Errorf("%d jobs ran in one pod, want 1", len(runs))
	}
}

// Another machine reaches neither ComfyUI nor the status page of a pod that works for the queue; only SERVE_API_LOCALLY opens ComfyUI itself.
func TestFault_X10_NeighboursReachNothing(t *testing.T) {
	t.Parallel()
	// Who listens for neighbours answers at every address of the machine.
	reached := func(port string) bool {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.2", port))
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	p, _ := queued(t, runpodtest.Config{Hold: time.Second})
	p.waitReady()
	_, status, _ := strings.Cut(strings.TrimPrefix(p.status, "http://"), ":")
	for what, port := range map[string]string{"ComfyUI": p.env["COMFY_PORT"], "the status page": status} {
		if reached(port) {
			t.Errorf("a neighbour reaches %s", what)
		}
	}
	p = start(t, options{env: local})
	p.waitReady()
	if !reached(p.env["COMFY_PORT"]) {
		t.Error("with SERVE_API_LOCALLY ComfyUI is closed too: the test proves nothing")
	}
}
