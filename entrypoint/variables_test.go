package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// Each variable of the configuration document changes what happens. Those that
// are not here have tests of their own: REFRESH_WORKER and SERVE_API_LOCALLY in
// pod_test.go.

// argv is the command line of the ComfyUI that runs.
func (p *program) argv() string {
	p.t.Helper()
	var stats struct{ System struct{ Argv []string } }
	p.get("http://127.0.0.1:"+p.env["COMFY_PORT"]+"/system_stats", &stats)
	return strings.Join(stats.System.Argv, " ")
}

func TestVariable_COMFY_LOG_LEVEL(t *testing.T) {
	t.Parallel()
	for level, started := range map[string]bool{"INFO": true, "ERROR": false} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: with(local, "COMFY_LOG_LEVEL", level)})
			p.waitReady()
			if argv := p.argv(); !strings.Contains(argv, "--verbose "+level) {
				t.Errorf("ComfyUI was started with %q", argv)
			}
			if a := p.job(picture(1)); a.Status != "COMPLETED" {
				t.Fatalf("job: %+v", a)
			}
			p.signal(syscall.SIGTERM) // the log is complete when the program has ended
			p.exit()
			if got := strings.Contains(p.log(), "got prompt"); got != started {
				t.Errorf("ComfyUI logged \"got prompt\": %v, want %v", got, started)
			}
		})
	}
}

func TestVariable_SERVE_API_LOCALLY(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	if argv := p.argv(); !strings.Contains(argv, "--listen") {
		t.Errorf("ComfyUI was started with %q, not listening on all addresses", argv)
	}
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("job: %+v", a)
	}
}

func TestVariable_COMFY_ORG_API_KEY(t *testing.T) {
	t.Parallel()
	const ours, theirs = "comfyui-key-of-the-pod", "comfyui-key-of-the-job"
	p := start(t, options{env: with(local, "COMFY_ORG_API_KEY", ours)})
	p.waitReady()
	p.job(picture(1))
	p.job(`{"api_key_comfy_org":"` + theirs + `",` + picture(2)[1:])
	runs := p.executions()
	if len(runs) != 2 {
		t.Fatalf("%d executions, want 2", len(runs))
	}
	for i, want := range []string{ours, theirs} {
		var extra map[string]any
		if err := json.Unmarshal(runs[i].ExtraData, &extra); err != nil || extra["api_key_comfy_org"] != want {
			t.Errorf("prompt %d was given the key %v, want %q", i, extra["api_key_comfy_org"], want)
		}
	}
	if log := p.log(); strings.Contains(log, ours) || strings.Contains(log, theirs) {
		t.Error("a key stands in the log")
	}
}

// connects counts how often the event socket was opened while a job ran whose
// socket breaks each time.
func connects(t *testing.T, more ...string) (count int, spread time.Duration) {
	t.Helper()
	p := start(t, options{env: with(with(local, "SIMCOMFY_FAULTS", `[{"on":"ws","do":"cut","after":1}]`), more...)})
	p.waitReady()
	if a := p.job(slow(2.5, 1)); a.Status != "COMPLETED" {
		t.Fatalf("job: %+v", a)
	}
	var ledger struct {
		Requests []struct {
			Time time.Time
			Path string
		}
	}
	p.get("http://127.0.0.1:"+p.env["COMFY_PORT"]+"/sim/ledger", &ledger)
	var first, last time.Time
	for _, r := range ledger.Requests {
		if strings.HasSuffix(r.Path, "/ws") {
			if count++; count == 1 {
				first = r.Time
			}
			last = r.Time
		}
	}
	return count, last.Sub(first)
}

// The number of attempts to open a broken socket again; the job goes on by
// polling when they are used up.
func TestVariable_WEBSOCKET_RECONNECT_ATTEMPTS(t *testing.T) {
	t.Parallel()
	few, _ := connects(t, "WEBSOCKET_RECONNECT_ATTEMPTS", "1", "WEBSOCKET_RECONNECT_DELAY_S", "1")
	many, _ := connects(t, "WEBSOCKET_RECONNECT_ATTEMPTS", "50", "WEBSOCKET_RECONNECT_DELAY_S", "1")
	if few != 2 || many <= few {
		t.Errorf("%d connections with one attempt, %d with fifty: want 2, and more", few, many)
	}
}

// The time between those attempts.
func TestVariable_WEBSOCKET_RECONNECT_DELAY_S(t *testing.T) {
	t.Parallel()
	_, spread := connects(t, "WEBSOCKET_RECONNECT_ATTEMPTS", "3", "WEBSOCKET_RECONNECT_DELAY_S", "1")
	if spread < time.Second {
		t.Errorf("all connections came within %v, want them spaced by 1 s", spread)
	}
}

func TestVariable_WEBSOCKET_TRACE(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"true": true, "false": false} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: with(local, "WEBSOCKET_TRACE", value)})
			p.waitReady()
			if a := p.job(picture(1)); a.Status != "COMPLETED" {
				t.Fatalf("job: %+v", a)
			}
			p.signal(syscall.SIGTERM)
			p.exit() // the log has all of it now
			if got := strings.Contains(p.log(), "execution_success"); got != want {
				t.Errorf("frames in the log: %v, want %v", got, want)
			}
		})
	}
}

// With BUCKET_ENDPOINT_URL and its keys, files go to S3, and the URL in the
// result leads to them; the key is date, job id and file name.
func TestVariable_BUCKET_ENDPOINT_URL(t *testing.T) {
	t.Parallel()
	gateway := s3test.Start(t)
	p := start(t, options{env: with(local, bucket(gateway)...)})
	p.waitReady()
	a := p.job(picture(1))
	if a.Status != "COMPLETED" || len(a.Output.Images) != 1 || a.Output.Images[0].Type != "s3_url" {
		t.Fatalf("job: %+v", a)
	}
	url := a.Output.Images[0].Data
	if want := time.Now().UTC().Format("2006-01-02") + "/" + a.ID + "/ComfyUI_00001_.png"; !strings.Contains(url, want) {
		t.Errorf("URL %s lacks the key %s", url, want)
	}
	if !strings.Contains(url, "%2F"+gateway.Region+"%2Fs3%2F") {
		t.Errorf("URL %s is not signed for the region %s of AWS_DEFAULT_REGION", url, gateway.Region)
	}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || http.DetectContentType(raw) != "image/png" {
		t.Errorf("GET %s: %s, %d bytes: %v", url, resp.Status, len(raw), err)
	}
}

func bucket(g *s3test.Gateway) []string {
	return []string{
		"BUCKET_ENDPOINT_URL", g.Endpoint(), "BUCKET_ACCESS_KEY_ID", g.AccessKey,
		"BUCKET_SECRET_ACCESS_KEY", g.SecretKey, "AWS_DEFAULT_REGION", g.Region,
	}
}

// Wrong keys, or a wrong region, fail the job with the store's own word for it
// and no secret.
func TestVariable_BUCKET_KeysAndRegion(t *testing.T) {
	t.Parallel()
	gateway := s3test.Start(t)
	for name, wrong := range map[string][]string{
		"BUCKET_ACCESS_KEY_ID":     {"BUCKET_ACCESS_KEY_ID", "AKIAWRONGWRONGWRONG"},
		"BUCKET_SECRET_ACCESS_KEY": {"BUCKET_SECRET_ACCESS_KEY", "wrong-secret-wrong-secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: with(with(local, bucket(gateway)...), wrong...)})
			p.waitReady()
			p.waitLine("the bucket may not take files")
			a := p.job(picture(1))
			if a.Status != "FAILED" || a.Output.Cause != "s3_upload_failed" || !strings.Contains(a.Error, "BUCKET_") {
				t.Errorf("job: %+v", a)
			}
			if said := a.Error + p.log(); strings.Contains(said, gateway.SecretKey) || strings.Contains(said, wrong[1]) {
				t.Errorf("a key was told: %s", a.Error)
			}
		})
	}
}
