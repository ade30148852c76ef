package localapi

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// sdk installs RunPod's JavaScript client and returns the directory of client.js.
func sdk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "runpod-sdk"))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install runpod-sdk: %v; this test needs node, npm and npm's registry\n%s", err, out)
	}
	return dir
}

// work does the jobs as their input says, until ctx ends.
func (a *api) work(ctx context.Context) {
	for {
		jobs, err := a.Take(ctx, 1)
		if err != nil {
			return
		}
		for _, j := range jobs {
			var input struct{ What string }
			if err := json.Unmarshal(j.Input, &input); err != nil {
				a.t.Errorf("input %s: %v", j.Input, err)
			}
			switch input.What {
			case "fine":
				a.Progress(j.ID, job.Progress{Percent: 50, Phase: "execute"})
				_ = a.Done(ctx, image(j.ID, 3))
			case "broken":
				_ = a.Done(ctx, failure(j.ID, "node_failed"))
			case "slow":
				later := time.AfterFunc(1500*time.Millisecond, func() { _ = a.Done(ctx, image(j.ID, 3)) })
				defer later.Stop()
			case "held":
				<-j.Canceled
			}
		}
	}
}

// RunPod's own JavaScript client cannot tell the local API from RunPod.
func TestRunPodsJavaScriptClient(t *testing.T) {
	dir := sdk(t)
	a := serve(t, Config{Token: token, SpoolDir: t.TempDir(), WorkerID: "pod-1"})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.work(ctx)
	}()
	defer func() { cancel(); <-ended }()

	file := filepath.Join(dir, "told.json")
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "client.js"), a.url+"/v2", token, file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("client: %v\n%s", err, out)
	}
	out, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	type told struct {
		ID, Status, WorkerID          string
		Error                         string
		Output                        json.RawMessage
		Started, Completed, Succeeded bool
		DelayTime, ExecutionTime      *int
	}
	var got struct {
		Health struct {
			Jobs    map[string]int
			Workers map[string]int
		}
		Sync, Slow, Run, Status, StatusSync, Broken, Cancel, Cancelled told
		Stream                                                         []struct{ Output job.Progress }
		Purge                                                          struct {
			Removed *int
			Status  string
		}
		Unknown, Refused int
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := func(name string, a told, want string) {
		t.Helper()
		if a.ID == "" || a.Status != want || !a.Started || !a.Completed || a.Succeeded != (want == "COMPLETED") || a.DelayTime == nil || a.ExecutionTime == nil || a.WorkerID != "pod-1" {
			t.Errorf("%s = %+v", name, a)
		}
	}
	whole("runSync", got.Sync, "COMPLETED")
	whole("status", got.Status, "COMPLETED")
	whole("statusSync", got.StatusSync, "COMPLETED")
	whole("broken", got.Broken, "FAILED")
	if !strings.Contains(string(got.Sync.Output), `"data":"AAAA"`) || got.Broken.Error == "" {
		t.Errorf("output = %s, error = %s", got.Sync.Output, got.Broken.Error)
	}
	if s := got.Slow; s.ID == "" || !s.Started {
		t.Errorf("runSync that is not waited for to its end = %+v", s)
	}
	if got.Run.ID == "" || got.Run.Status != "IN_QUEUE" {
		t.Errorf("run = %+v", got.Run)
	}
	if len(got.Stream) != 1 || got.Stream[0].Output.Percent != 50 {
		t.Errorf("stream = %+v", got.Stream)
	}
	if got.Cancel.Status != "CANCELLED" || got.Cancelled.Status != "CANCELLED" || !got.Cancelled.Completed {
		t.Errorf("cancel = %+v, then %+v", got.Cancel, got.Cancelled)
	}
	if got.Purge.Removed == nil || got.Purge.Status != "completed" {
		t.Errorf("purge = %+v", got.Purge)
	}
	for _, word := range []string{"completed", "failed", "inProgress", "inQueue", "retried"} {
		if _, there := got.Health.Jobs[word]; !there {
			t.Errorf("health lacks jobs.%s: %+v", word, got.Health)
		}
	}
	for _, word := range []string{"idle", "initializing", "ready", "running", "throttled"} {
		if _, there := got.Health.Workers[word]; !there {
			t.Errorf("health lacks workers.%s: %+v", word, got.Health)
		}
	}
	if got.Unknown != http.StatusNotFound || got.Refused != http.StatusUnauthorized {
		t.Errorf("unknown id = %d, wrong key = %d", got.Unknown, got.Refused)
	}
}

// The requests of RunPod's Python client, as they go over the wire: every one
// with a JSON content type, also those without a body.
func TestRunPodsPythonClient(t *testing.T) {
	a := serve(t, Config{Token: token})
	header := []string{
		"Authorization", "Bearer " + token, "Content-Type", "application/json",
		"User-Agent", "RunPod-Python-SDK/1.7.13 (Linux 6.8; x86_64) Language/Python 3.12.3",
		"Accept", "*/*", "Accept-Encoding", "gzip, deflate", "Connection", "keep-alive",
	}
	ask := func(method, path, body string) jobAnswer {
		t.Helper()
		return a.want(http.StatusOK, method, "/v2/my-endpoint/"+path, body, header...).job(t)
	}
	id := ask("POST", "run", `{"input": {"prompt": "a cat"}}`).ID
	if got := ask("GET", "status/"+id, ""); got.Status != inQueue {
		t.Errorf("status = %+v", got)
	}
	a.takeOne()
	a.Progress(id, job.Progress{Percent: 10})
	if got := ask("GET", "stream/"+id, ""); len(got.Stream) != 1 || got.Status != inProgress {
		t.Errorf("stream = %+v", got)
	}
	a.done(image(id, 3))
	if got := ask("GET", "status/"+id, ""); got.Status != completed || got.Output == nil {
		t.Errorf("status = %+v", got)
	}
	later := make(chan jobAnswer)
	go func() { later <- ask("POST", "runsync", `{"input": {"prompt": "a dog"}}`) }()
	a.done(image(a.takeOne().ID, 3))
	if got := <-later; got.Status != completed || got.Output == nil {
		t.Errorf("runsync = %+v", got)
	}
	dropped := ask("POST", "run", `{"input": {}}`).ID
	if got := ask("POST", "cancel/"+dropped, ""); got.Status != cancelled {
		t.Errorf("cancel = %+v", got)
	}
	a.want(http.StatusOK, "GET", "/v2/my-endpoint/health", "", header...)
	a.want(http.StatusOK, "POST", "/v2/my-endpoint/purge-queue", "", header...)
	a.want(http.StatusUnauthorized, "GET", "/v2/my-endpoint/health", "", "Authorization", "Bearer wrong")
}
