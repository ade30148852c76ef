package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/localapi"
)

// A series is what one number costs as it grows.
type series struct {
	name    string
	what    string // the number
	columns [2]string
	sizes   []int
	measure func(t *testing.T, n int) [2]float64
}

func allSeries() []series {
	const peak = "memory at most, MB"
	return []series{
		{"output-size", "bytes of the one output", [2]string{peak, "job without its execution, ms"},
			[]int{1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}, func(t *testing.T, n int) [2]float64 { return passed(t, 1, n) }},
		{"outputs", "outputs of a job, 20 KB each", [2]string{peak, "job without its execution, ms"},
			[]int{1, 4, 16, 64, 256, 512}, func(t *testing.T, n int) [2]float64 { return passed(t, n, 20_000) }},
		{"log", "bytes that ComfyUI logs at once", [2]string{peak, "processor time, ms"},
			[]int{1e5, 1e6, 1e7, 1e8, 5e8}, flooded},
		{"queue", "jobs that wait in the local API", [2]string{"live heap, MB", "submission, ms"},
			[]int{1, 10, 100, 1000, 10_000}, func(t *testing.T, n int) [2]float64 { return kept(t, n, false) }},
		{"kept", "jobs that the local API keeps", [2]string{"live heap, MB", "page of the list, ms"},
			[]int{1, 10, 100, 1000, 10_000}, func(t *testing.T, n int) [2]float64 { return kept(t, n, true) }},
		{"instances", "ComfyUIs of a pod, idle", [2]string{"memory, MB", "processor, ms/s"},
			[]int{1, 2, 4, 8}, sideBySide},
	}
}

// passed is the largest memory of the program for a job with count outputs of so
// many bytes, and how long the job takes beside its execution.
func passed(t *testing.T, count, bytes int) [2]float64 {
	s := newStand(t)
	p := s.launch(newSignpost(t, s, ""))
	defer p.stop()
	r := s.round(1, imageFiles(count, bytes))
	if got := r.delivered[0].bytes; got < int64(count)*int64(bytes) {
		t.Errorf("%d outputs of %d bytes arrived as %d bytes", count, bytes, got)
	}
	return [2]float64{p.memory("VmHWM"), millis(r.overhead())}
}

// flooded is the largest memory of the program while ComfyUI logs so many bytes
// as it starts, and the processor time until it is ready.
func flooded(t *testing.T, bytes int) [2]float64 {
	flood := filepath.Join(t.TempDir(), "flood")
	line := strings.Repeat("x", 99) + "\n"
	if err := os.WriteFile(flood, []byte(strings.Repeat(line, bytes/len(line))), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStand(t)
	p := s.launch(newSignpost(t, s, "cat "+flood))
	defer p.stop()
	await(t, p.gate)
	return [2]float64{p.memory("VmHWM"), millis(p.processor())}
}

// kept is the live heap that so many jobs take in the local API, which wait or
// have ended, and how long one call takes then.
func kept(t *testing.T, n int, ended bool) [2]float64 {
	l, err := localapi.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := liveHeap()
	api := localapi.New(localapi.Config{
		SpoolDir: t.TempDir(), MaxQueue: n, Keep: localapi.Keep{Jobs: n},
	}, l, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = api.Run(ctx) }) // it is told to end
	defer run.Wait()
	defer client.CloseIdleConnections()
	defer cancel()
	url := "http://" + l.Addr().String()
	var took []time.Duration
	for range n {
		began := time.Now()
		mustCall(t, http.MethodPost, url+"/run", `{"input":{"workflow":{"1":{"class_type":"SaveImage","inputs":{"filename_prefix":"a"}}}}}`)
		took = append(took, time.Since(began))
		if ended {
			endOne(t, api)
		}
	}
	if ended {
		took = nil
		for range 20 {
			began := time.Now()
			mustCall(t, http.MethodGet, url+"/jobs", "")
			took = append(took, time.Since(began))
		}
	}
	heap := float64(max(0, int64(liveHeap())-int64(before))) / 1e6
	return [2]float64{heap, at(took[len(took)-min(len(took), 100):], 0.5)}
}

// endOne takes a job and ends it.
func endOne(t *testing.T, api *localapi.Server) {
	t.Helper()
	jobs, err := api.Take(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if err := api.Done(t.Context(), job.Result{ID: j.ID, Output: &job.Output{Values: map[string]json.RawMessage{"1": []byte(`"x"`)}}}); err != nil {
			t.Fatal(err)
		}
	}
}

// mustCall makes a call that must succeed.
func mustCall(t *testing.T, method, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v", method, url, resp.Status, err)
	}
}

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one has found to be finalized
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// sideBySide is memory and processor of the program that has so many ComfyUIs
// and nothing to do.
func sideBySide(t *testing.T, n int) [2]float64 {
	binary, err := comfyvisor()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, options{binary: binary, env: with(local, "COMFY_INSTANCES", fmt.Sprint(n), "COMFY_PORT", fmt.Sprint(freePorts(t, n)))})
	p.allReady(n)
	l := &launched{stand: &stand{tb: t}, cmd: p.cmd}
	before := l.processor()
	await(t, time.After(idleFor))
	return [2]float64{l.memory("VmRSS"), millis(l.processor()-before) / idleFor.Seconds()}
}
