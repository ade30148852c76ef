package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// Something else that answers like ComfyUI on its port is not taken for it: no job is let in, the holder is named, and when it is gone ComfyUI is started.
func TestFault_L5_AnswersOfSomethingElseAreNotReadiness(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "SIMCOMFY_BOOT", "3s", "COMFY_API_AVAILABLE_INTERVAL_MS", "20")})
	p.waitLine("process running")
	l, err := net.Listen("tcp", "127.0.0.1:"+p.env["COMFY_PORT"])
	if err != nil {
		t.Fatal(err)
	}
	other := comfytest.Serve(l, comfytest.Config{Dir: t.TempDir()})
	t.Cleanup(other.Close)
	p.waitLine("process exited", "exited with code 1") // ComfyUI found its port in use
	line := p.waitLine("process exited", "port busy")
	if want := fmt.Sprintf("process %d (", os.Getpid()); !strings.Contains(line, want) {
		t.Errorf("no %q in %s", want, line)
	}
	if strings.Contains(p.log(), "gate open") {
		t.Error("the gate was opened")
	}
	if n := len(other.Requests()); n == 0 {
		t.Error("the other server was never asked: the test proves nothing")
	}
	other.Close()
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("when it is gone: %+v", a)
	}
}

// Something that ComfyUI started in a session of its own holds the port when ComfyUI dies: it is killed, and the next ComfyUI gets the port.
func TestFault_C7_GrandchildWithThePort(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "COMFY_COMMAND", launcher(t, `setsid "$@" & exec sleep 1000000`))})
	p.waitReady()
	before := slices.DeleteFunc(p.left(), func(line string) bool { return !strings.Contains(line, "fakecomfy") })
	if len(before) == 0 {
		t.Fatalf("no grandchild to leave behind: %q", p.left())
	}
	if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.waitLine("process running", `"incarnation": 2`)
	for _, now := range p.left() {
		if slices.Contains(before, now) {
			t.Errorf("%s is still there", now)
		}
	}
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("job: %+v", a)
	}
}

// A slow boot with a job waiting: it is not taken before ComfyUI is ready, heartbeats are sent all along, and ComfyUI is not restarted.
func TestFault_L1_SlowBootTakesNoJob(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: time.Minute}, "SIMCOMFY_BOOT", "4s", "RUNPOD_PING_INTERVAL", "1000")
	q.Submit("a", picture(1))
	p.waitReady()
	ready := time.Now()
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Errorf("job: %s %s", o.Status, o.Error)
	}
	ledger := q.Ledger()
	early := 0
	for _, ping := range ledger.Pings {
		if ping.At.Before(ready) {
			early++
		}
	}
	if early == 0 {
		t.Error("no heartbeat while it booted")
	}
	booted := p.bootedAt()
	if taken := ledger.Takes[0].At; taken.Before(booted) {
		t.Errorf("asked for a job at %v, ComfyUI is ready at %v", taken, booted)
	}
	if strings.Contains(p.log(), `"incarnation":2`) {
		t.Error("ComfyUI was restarted")
	}
}

// bootedAt is when the simulated ComfyUI began to listen, as its log tells it.
func (p *program) bootedAt() time.Time {
	p.t.Helper()
	line := p.waitLine("To see the GUI go to")
	_, rest, _ := strings.Cut(line, `"time":"`)
	stamp, _, _ := strings.Cut(rest, `"`)
	at, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		p.t.Fatalf("no time in %s: %v", line, err)
	}
	return at.Add(-time.Second) // lines are relayed a little late
}

// Answers to probes that are none (errors, pages of a proxy, redirects, silence) do not open the gate, and no probe is sent while another waits for its answer.
func TestFault_L6_OddAnswersAreNotReadiness(t *testing.T) {
	t.Parallel()
	const probe = "/prompt"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("a redirect was followed")
		_, _ = io.WriteString(w, `{"exec_info":{"queue_remaining":0}}`)
	}))
	t.Cleanup(elsewhere.Close)
	for name, tt := range map[string]struct {
		fault string
		count int
		apart time.Duration // at least, between two probes
	}{
		"500":      {`"do":"answer","status":500`, 5, 0},
		"502 page": {`"do":"answer","status":502,"type":"text/html","body":"<html>Bad Gateway</html>"`, 5, 0},
		"200 page": {`"do":"answer","status":200,"type":"text/html","body":"<html>Welcome</html>"`, 5, 0},
		"redirect": {`"do":"answer","status":302,"body":"` + elsewhere.URL + probe + `"`, 5, 0},
		"cut":      {`"do":"reset"`, 5, 0},
		"silence":  {`"do":"hang"`, 2, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: with(local,
				"SIMCOMFY_FAULTS", fmt.Sprintf(`[{"on":"GET %s","count":%d,%s}]`, probe, tt.count, tt.fault))})
			p.waitReady()
			var ledger comfytest.Ledger
			p.get("http://127.0.0.1:"+p.env["COMFY_PORT"]+"/sim/ledger", &ledger)
			var probes []time.Time
			for _, r := range ledger.Requests {
				if r.Method == "GET" && strings.TrimPrefix(r.Path, "/api") == probe {
					probes = append(probes, r.Time)
				}
			}
			if len(probes) <= tt.count {
				t.Fatalf("the gate opened after %d probes, %d of which were answered badly", len(probes), tt.count)
			}
			for i := range tt.count {
				if apart := probes[i+1].Sub(probes[i]); apart < tt.apart {
					t.Errorf("probe %d came %v after the one before, which had no answer yet", i+1, apart)
				}
			}
		})
	}
}

// Readiness that flaps loses no job and restarts nothing, and the outside is not told of it: the gate stays open and /readyz answers 200.
func TestFault_L7_FlappingReadiness(t *testing.T) {
	t.Parallel()
	var rules []string
	for i := range 200 { // every second probe is answered badly
		rules = append(rules, fmt.Sprintf(`{"on":"GET /prompt","do":"answer","status":503,"skip":%d,"count":1}`, i+1))
	}
	p, q := queued(t, runpodtest.Config{Hold: time.Minute}, "LIVENESS_INTERVAL", "100ms", "LIVENESS_FAILURES", "1", "LIVENESS_SILENCE", "1s",
		"SIMCOMFY_FAULTS", "["+strings.Join(rules, ",")+"]")
	for i := range 10 {
		q.Submit(strconv.Itoa(i), slow(0.2, i))
	}
	for i := range 10 {
		if o := ends(t, q, strconv.Itoa(i)); o.Status != runpodtest.Completed {
			t.Errorf("job %d: %s %s", i, o.Status, o.Error)
		}
		var ready any
		if code := p.get(p.status+"/readyz", &ready); code != http.StatusOK {
			t.Errorf("/readyz answers %d %v after job %d", code, ready, i)
		}
	}
	if n := len(p.executions()); n != 10 {
		t.Errorf("%d executions of 10 jobs", n)
	}
	if strings.Contains(p.log(), "gate closed") {
		t.Error("the gate was closed meanwhile")
	}
	if strings.Contains(p.log(), "process exited") {
		t.Error("ComfyUI was restarted")
	}
	if err := q.Check(); err != nil {
		t.Error(err)
	}
}
