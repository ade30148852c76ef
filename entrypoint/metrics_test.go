package main

import (
	"encoding/base64"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"syscall"
	"testing"
)

// metric is the value of a metric of the program, with its labels as they are
// written, -1 if it is not there.
func (p *program) metric(name string) float64 {
	p.t.Helper()
	_, text := p.page("/metrics")
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		return -1
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		p.t.Fatalf("%s is %s", name, found[1])
	}
	return value
}

// page is what the status server answers.
func (p *program) page(path string) (code int, text string) {
	p.t.Helper()
	resp, err := client.Get(p.status + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// What a pod counts while it runs a job, loses its ComfyUI and gets another.
func TestMetricsOfAPod(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: map[string]string{"SERVE_API_LOCALLY": "true", "STATUS_PPROF": "true"}})
	p.waitReady()
	var done struct {
		Status string
		Output struct {
			Timings struct {
				Execute int64
				Nodes   map[string]int64
			}
		}
	}
	p.post("/runsync", `{"input":{"workflow":{
		"1":{"class_type":"LoadImage","inputs":{"image":"a.png"}},
		"2":{"class_type":"SimSleep","inputs":{"seconds":0.1,"mode":"poll","steps":5}},
		"3":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}},
		"images":[{"name":"a.png","image":"`+base64.StdEncoding.EncodeToString([]byte(tinyPNG))+`"}]}}`, &done)
	if done.Status != "COMPLETED" || done.Output.Timings.Execute < 100 || done.Output.Timings.Nodes["2"] < 90 {
		t.Errorf("the result: %+v", done)
	}
	if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.wait("another ComfyUI", func() bool {
		return p.metric(`comfyvisor_child_boot_seconds_count{instance="comfyui"}`) == 2 && p.metric(`comfyvisor_gpu_memory_bytes{instance="comfyui",kind="total"}`) > 1e9
	})
	for name, want := range map[string]float64{
		`comfyvisor_received_bytes_total`:                                       float64(len(tinyPNG)),
		`comfyvisor_incarnation_seconds_count{end="signal",instance="comfyui"}`: 1,
		`comfyvisor_child_restarts_total{cause="signal",instance="comfyui"}`:    1,
		`comfyvisor_job_seconds_count{outcome="completed"}`:                     1,
		`comfyvisor_job_phase_seconds_count{phase="execute"}`:                   1,
		`comfyvisor_jobs_queued`:                                                0,
		`comfyvisor_jobs_running`:                                               0,
		`comfyvisor_gate_open{instance="comfyui"}`:                              1,
	} {
		if got := p.metric(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{`comfyvisor_memory_bytes{kind="used"}`, `comfyvisor_child_resident_bytes{instance="comfyui"}`, `comfyvisor_delivered_bytes_total{store="inline"}`} {
		if got := p.metric(name); got <= 0 {
			t.Errorf("%s is %v", name, got)
		}
	}
	if code, _ := p.page("/debug/pprof/heap"); code != http.StatusOK {
		t.Errorf("/debug/pprof/heap: %d", code)
	}
}
