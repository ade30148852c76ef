package main

import (
	"bytes"
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
	"strconv"
	"syscall"
	"time"
)

// pod is comfyvisor with its ComfyUI, as they run in a container.
type pod struct {
	process     *exec.Cmd
	dir         string
	api, status string        // URLs
	ended       chan struct{} // closed when comfyvisor has ended
	err         error         // how it ended
}

func startPod() (*pod, error) {
	dir, err := os.MkdirTemp("", "comfyvisor-demo-")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "custom_nodes"), 0o755); err != nil { // ComfyUI wants it
		return nil, err
	}
	fake, err := filepath.Abs(filepath.Join("bin", "fakecomfy"))
	if err != nil {
		return nil, err
	}
	api, err := port("API_PORT", 8000)
	if err != nil {
		return nil, err
	}
	status, err := port("", 0)
	if err != nil {
		return nil, err
	}
	comfy, err := port("", 0)
	if err != nil {
		return nil, err
	}
	p := &pod{
		dir:    dir,
		api:    fmt.Sprintf("http://127.0.0.1:%d", api),
		status: fmt.Sprintf("http://127.0.0.1:%d", status),
		ended:  make(chan struct{}),
	}
	p.process = exec.Command(filepath.Join("bin", "comfyvisor"))
	p.process.Env = append(os.Environ(),
		"SERVE_API_LOCALLY=true", "COMFY_CPU=true", "COMFY_LOG_LEVEL=INFO", "LOG_FORMAT=console",
		"COMFY_COMMAND="+fake+" --base-directory "+dir,
		"COMFY_HOME="+dir, "COMFY_PORT="+strconv.Itoa(comfy), "DATA_DIR="+filepath.Join(dir, "data"),
		"API_HOST=127.0.0.1", "API_PORT="+strconv.Itoa(api), "STATUS_ADDR=127.0.0.1:"+strconv.Itoa(status),
	)
	p.process.Stdout, p.process.Stderr = os.Stdout, os.Stderr
	p.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to pass on
	if err := p.process.Start(); err != nil {
		return nil, fmt.Errorf("start comfyvisor (build it first, with make build): %w", err)
	}
	go func() {
		p.err = p.process.Wait()
		close(p.ended)
	}()
	return p, nil
}

// port returns the wanted port if it is free, or any other that is. The
// environment variable, if set, stands over wanted.
func port(variable string, wanted int) (int, error) {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		wanted = n
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", wanted))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// stop ends comfyvisor as docker stop does, and waits for it.
func (p *pod) stop() error {
	defer os.RemoveAll(p.dir)
	_ = p.process.Process.Signal(syscall.SIGTERM) // it may have ended already
	<-p.ended
	return p.err
}

// waitReady waits for /readyz.
func (p *pod) waitReady(ctx context.Context) error {
	return p.until(ctx, 30*time.Second, "comfyvisor to be ready", func() (bool, error) {
		code, _, err := p.call(ctx, http.MethodGet, p.status+"/readyz", nil)
		return err == nil && code == http.StatusOK, nil // refused until it listens
	})
}

// waitExecuting waits until a job is well into its sampling.
func (p *pod) waitExecuting(ctx context.Context, id string) error {
	return p.until(ctx, 30*time.Second, "job "+id+" to be half-way", func() (bool, error) {
		r, err := p.job(ctx, id)
		if err != nil {
			return false, err
		}
		var progress struct{ Percent float64 }
		_ = json.Unmarshal(r.Output, &progress) // there is none at first
		return r.Status == "COMPLETED" || progress.Percent >= 30, nil
	})
}

// waitEnd waits for the end of a job.
func (p *pod) waitEnd(ctx context.Context, id string) (r result, err error) {
	err = p.until(ctx, time.Minute, "job "+id+" to end", func() (bool, error) {
		r, err = p.job(ctx, id)
		return err == nil && r.Status != "IN_QUEUE" && r.Status != "IN_PROGRESS", err
	})
	return r, err
}

func (p *pod) until(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("wait for %s: comfyvisor ended: %w", what, p.err)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}

// comfyPID is the process id of the ComfyUI that runs now.
func (p *pod) comfyPID(ctx context.Context) (int, error) {
	_, body, err := p.call(ctx, http.MethodGet, p.status+"/debug/state", nil)
	if err != nil {
		return 0, err
	}
	var state struct{ Instances []struct{ PID int } }
	if err := json.Unmarshal(body, &state); err != nil || len(state.Instances) == 0 || state.Instances[0].PID == 0 {
		return 0, fmt.Errorf("no process id in /debug/state: %s", body)
	}
	return state.Instances[0].PID, nil
}

// result is a job as the API tells it.
type result struct {
	ID, Status, Error string
	Output            json.RawMessage
}

func (p *pod) post(ctx context.Context, path string, body []byte) (result, error) {
	return p.decode(p.call(ctx, http.MethodPost, p.api+path, body))
}

func (p *pod) job(ctx context.Context, id string) (result, error) {
	return p.decode(p.call(ctx, http.MethodGet, p.api+"/status/"+id, nil))
}

func (p *pod) decode(code int, body []byte, err error) (result, error) {
	var r result
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil || code != http.StatusOK {
		return r, fmt.Errorf("the API answered %d: %.300s", code, body)
	}
	return r, nil
}

func (p *pod) call(ctx context.Context, method, url string, body []byte) (code int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// save writes the job's first picture into a folder and returns its path.
func (r result) save(folder string) (string, error) {
	var output struct {
		Images []struct {
			Filename string
			Data     []byte
		}
	}
	if r.Status != "COMPLETED" {
		return "", fmt.Errorf("job %s ended as %s: %s", r.ID, r.Status, r.Error)
	}
	if err := json.Unmarshal(r.Output, &output); err != nil {
		return "", fmt.Errorf("read the output of job %s: %w", r.ID, err)
	}
	if len(output.Images) == 0 {
		return "", errors.New("the job made no picture")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(folder, r.ID+"-"+filepath.Base(output.Images[0].Filename))
	return file, os.WriteFile(file, output.Images[0].Data, 0o644)
}
