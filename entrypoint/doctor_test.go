package main

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// diagnosis is what comfyvisor doctor --json prints.
type diagnosis struct {
	OK       bool
	Findings []struct {
		Name, Verdict, Text, Advice string
		Details                     []string
	}
}

// examined runs comfyvisor doctor --json to its end.
func examined(t *testing.T, env map[string]string) (p *program, d diagnosis, verdicts map[string]string) {
	t.Helper()
	p = start(t, options{args: []string{"doctor", "--json"}, env: env})
	p.exit()
	if err := json.Unmarshal([]byte(p.log()), &d); err != nil {
		t.Fatalf("%v: %s", err, p.log())
	}
	verdicts = make(map[string]string)
	for _, f := range d.Findings {
		verdicts[f.Name] = f.Verdict
	}
	return p, d, verdicts
}

// In a pod where all is well the doctor says so, exits with 0, and leaves nothing
// behind in the bucket; the queue is connected to and hears no request.
func TestDoctorOfAHealthyPod(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	queue := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the queue was asked something") }))
	defer queue.Close()
	env := with(map[string]string{
		"RUNPOD_WEBHOOK_GET_JOB": queue.URL + "/take/$ID?key=canary-of-the-queue", "RUNPOD_WEBHOOK_POST_OUTPUT": queue.URL + "/done/$ID",
		"RUNPOD_VOLUME_PATH": volumeWith(t, "models/checkpoints/sd_xl.safetensors"),
	}, bucket(gw)...)
	p, d, verdicts := examined(t, env)
	for _, name := range []string{"configuration", "gpu", "comfyui", "port", "disk", "s3", "queue"} {
		if verdicts[name] != "ok" {
			t.Errorf("%s: %q in %s", name, verdicts[name], p.log())
		}
	}
	// A temporary directory is no mount.
	if verdicts["volume"] != "warn" || !d.OK || p.code != exitDone {
		t.Errorf("volume %q, ok %v, exit code %d", verdicts["volume"], d.OK, p.code)
	}
	if text := p.log(); strings.Contains(text, gw.SecretKey) || strings.Contains(text, "canary") || !strings.Contains(text, "sd_xl.safetensors") {
		t.Errorf("it shows a secret, or no model: %s", text)
	}
	err := filepath.WalkDir(gw.Path("."), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			t.Errorf("%s is left in the bucket", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What is wrong is told, each thing with what to do, and the exit code is 1.
func TestDoctorOfASickPod(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	env := with(map[string]string{
		"RUNPOD_WEBHOOK_GET_JOB": closed.URL + "/take/$ID?key=canary-of-the-queue", "RUNPOD_WEBHOOK_POST_OUTPUT": closed.URL + "/done/$ID",
		"COMFY_CPU": "false", "COMFY_HOME": "/no/such/home", "COMFY_LOG_LEVEL": "loud", "MIN_FREE_MB": "1048576",
		"RUNPOD_VOLUME_PATH": "/no/such/volume", "GPU_CHECK": "required", "NVIDIA_VISIBLE_DEVICES": "void",
	}, bucket(gw)...)
	env["BUCKET_SECRET_ACCESS_KEY"] = "canary-secret-that-is-wrong"
	p, d, verdicts := examined(t, env)
	if p.code != exitJobFailed || d.OK {
		t.Errorf("exit code %d, ok %v", p.code, d.OK)
	}
	want := []string{"configuration", "comfyui", "volume", "s3", "queue"}
	if _, err := os.Stat("/dev/nvidia0"); err != nil {
		want = append(want, "gpu")
	}
	for _, name := range want {
		if verdicts[name] != "fail" {
			t.Errorf("%s: %q in %s", name, verdicts[name], p.log())
		}
	}
	for _, f := range d.Findings {
		if f.Verdict == "fail" && f.Advice == "" && f.Details == nil {
			t.Errorf("%s fails and nothing is said of what to do", f.Name)
		}
	}
	if text := p.log(); strings.Contains(text, "canary") || !strings.Contains(text, "COMFY_LOG_LEVEL=loud") || !strings.Contains(text, "SignatureDoesNotMatch") {
		t.Errorf("it shows a secret, or lacks a fault: %s", text)
	}
}

// For people there is a line for each check, and colour on a terminal alone.
func TestDoctorForPeople(t *testing.T) {
	t.Parallel()
	p := start(t, options{args: []string{"doctor"}, env: local})
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want 0", code)
	}
	text := p.log()
	for _, want := range []string{"ok    configuration", "ok    gpu ", "ok    s3 ", "queue"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing is said of %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("there is colour in it: %q", text)
	}
}
