//go:build gpu

// Package gputest tests comfyvisor with a real GPU:
//
//	make gpu-test
//
// It needs an NVIDIA GPU and a python3 with PyTorch, aiohttp and CuPy. What stands
// in for ComfyUI is testdata/main.py, which has ComfyUI's routes and whose nodes
// compute on the GPU, and break it as testdata/faults.py knows how. It takes a few
// minutes, and writes what it saw to out/gpu.
package gputest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// bootLimit bounds the wait for a ComfyUI, which loads PyTorch.
	bootLimit = 2 * time.Minute
	// jobLimit bounds the wait for a job, with the restarts that it may cost.
	jobLimit = 2 * time.Minute
)

// A pod is a comfyvisor that runs with its local API.
type pod struct {
	t           *testing.T
	cmd         *exec.Cmd
	api, status string // URLs
	log         *os.File
}

// start starts comfyvisor and waits until it takes jobs.
func start(t *testing.T, extra ...string) *pod {
	t.Helper()
	home := t.TempDir()
	p := &pod{t: t, api: "http://" + freeAddr(t), status: "http://" + freeAddr(t)}
	p.log = create(t, "comfyvisor-"+t.Name()+".log")
	_, apiPort, _ := net.SplitHostPort(strings.TrimPrefix(p.api, "http://"))
	_, comfyPort, _ := net.SplitHostPort(freeAddr(t))
	p.cmd = exec.Command(binary(t))
	p.cmd.Env = append(os.Environ(), append([]string{
		"SERVE_API_LOCALLY=true", "API_HOST=127.0.0.1", "API_PORT=" + apiPort, "STATUS_ADDR=" + strings.TrimPrefix(p.status, "http://"),
		"COMFY_HOME=" + home, "COMFY_PORT=" + comfyPort, "COMFY_COMMAND=python3 " + testdata(t, "main.py"),
		"COMFY_OUTPUT_DIR=" + filepath.Join(home, "output"),
	}, extra...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	p.awaitReady(0)
	return p
}

// end stops comfyvisor, which has to exit as one that was asked to.
func (p *pod) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("comfyvisor ended with %v", err)
	}
	p.log.Close()
}

// awaitReady waits until every ComfyUI takes jobs, and none is the process before.
func (p *pod) awaitReady(before int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), bootLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := p.state()
		if err == nil && !slices.ContainsFunc(all, func(c comfy) bool { return !c.Ready || c.PID == before }) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("no new ComfyUI was ready within %v; see %s", bootLimit, p.log.Name())
		}
	}
}

// comfy is what /debug/state tells of a ComfyUI.
type comfy struct {
	Incarnation int
	PID         int
	Ready       bool
	LastExit    string `json:"last_exit"`
}

func (p *pod) state() ([]comfy, error) {
	resp, err := http.Get(p.status + "/debug/state")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var state struct{ Instances []comfy }
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil || len(state.Instances) == 0 {
		return nil, fmt.Errorf("%d instances: %w", len(state.Instances), cmp.Or(err, errors.New("want at least one")))
	}
	return state.Instances, nil
}

// comfys are all its ComfyUIs.
func (p *pod) comfys() []comfy {
	p.t.Helper()
	all, err := p.state()
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// comfy is the only one.
func (p *pod) comfy() comfy { return p.comfys()[0] }

// A result is the end of a job, as RunPod's API tells it.
type result struct {
	Status string
	Error  string
	Output struct {
		Images []struct{ Data string }
	}
}

// node is a job of one node.
func node(class string, inputs map[string]any) map[string]any {
	return map[string]any{"input": map[string]any{"workflow": map[string]any{"1": map[string]any{"class_type": class, "inputs": inputs}}}}
}

func image(seed int) map[string]any {
	return node("GpuImage", map[string]any{"size": 512, "seed": seed, "filename_prefix": "gpu"})
}

// submit hands in a job and returns its id.
func (p *pod) submit(job map[string]any) string {
	p.t.Helper()
	var accepted struct{ ID string }
	p.call(http.MethodPost, "/run", job, &accepted)
	if accepted.ID == "" {
		p.t.Fatal("a job was not accepted")
	}
	return accepted.ID
}

// await returns the end of a job.
func (p *pod) await(id string) result {
	p.t.Helper()
	var r result
	for begun := time.Now(); time.Since(begun) < jobLimit; {
		p.call(http.MethodGet, "/status-sync/"+id+"?wait=20000", nil, &r)
		switch r.Status {
		case "COMPLETED", "FAILED", "TIMED_OUT", "CANCELLED":
			return r
		}
	}
	p.t.Fatalf("job %s is %s after %v", id, r.Status, jobLimit)
	return r
}

func (p *pod) do(job map[string]any) result {
	p.t.Helper()
	return p.await(p.submit(job))
}

// wantImage runs a job that has to succeed.
func (p *pod) wantImage(seed int) {
	p.t.Helper()
	if r := p.do(image(seed)); r.Status != "COMPLETED" || len(r.Output.Images) != 1 || len(r.Output.Images[0].Data) < 1000 {
		p.t.Errorf("a picture with seed %d: %s %s", seed, r.Status, r.Error)
	}
}

func (p *pod) call(method, path string, body, into any) {
	p.t.Helper()
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			p.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.api+path, &text)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s %s: %s %.300s %v", method, path, resp.Status, answer, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		p.t.Fatalf("%s %s: %v in %.300s", method, path, err, answer)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// root is the module's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return cmp.Or(os.Getenv("GPUTEST_ROOT"), dir)
}

func binary(t *testing.T) string { return filepath.Join(root(t), "bin", "comfyvisor") }

func testdata(t *testing.T, name string) string {
	return filepath.Join(root(t), "deploy", "gputest", "testdata", name)
}

// create makes a file for what was seen.
func create(t *testing.T, name string) *os.File {
	t.Helper()
	dir := cmp.Or(os.Getenv("GPUTEST_OUT"), filepath.Join(root(t), "out", "gpu"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// kill ends a process at once.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}
