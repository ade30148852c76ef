package worker

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// held makes every delivery of a pod wait until release is called, and tells of
// each that waits.
func (p *pod) held() (waiting <-chan string, release func()) {
	ids, free := make(chan string, 10), make(chan struct{})
	p.source.hold = func(ctx context.Context, id string) error {
		ids <- id
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ids, func() { close(free) }
}

func (p *pod) submit(id, input string) {
	p.source.submit(job.Job{ID: id, Input: []byte(input)})
}

// made is the hash of the one file that the n-th execution wrote.
func (p *pod) made(n int) string { return p.comfy.Executions()[n].Files[0].SHA256 }

// Outputs that only ComfyUI can hand out outlive it: while the queue takes no result ComfyUI is killed, its files are lost, and the result arrives byte-equal, from memory or from a file without a name in DATA_DIR.
func TestFault_R1_ResultOutlivesComfyUI(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20_000, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "outputs")
			p := startPod(t, comfytest.Config{}, func(c *Config) {
				c.Slots[0].OutputDir = "" // as if it were on another machine
				c.SpoolDir = dir
			})
			waiting, release := p.held()
			p.submit("a", simulated("SimFiles", fmt.Sprintf(`{"count":1,"bytes":%d,"kind":"images","ext":"png","filename_prefix":"x","seed":1}`, size)))
			<-waiting
			if left, err := os.ReadDir(dir); len(left) > 0 || (err == nil) != (size > keptInMemory) {
				t.Errorf("the spool directory holds %v, %v", left, err)
			}
			p.comfy.Kill(syscall.SIGKILL)
			for changed := p.slot.Gate.Changed(); p.starts.Load() < 2; changed = p.slot.Gate.Changed() {
				<-changed
			}
			if err := os.RemoveAll(filepath.Join(p.comfy.OutputDir(), "comfyvisor")); err != nil {
				t.Fatal(err)
			}
			release()
			d := p.source.wait(t, "a")
			d.wantOutput(t, 1)
			if d.hashes[0] != p.made(0) {
				t.Errorf("the result has hash %s, ComfyUI wrote %s", d.hashes[0], p.made(0))
			}
		})
	}
}

// A file outside of the job's own folder, where its workflow insists on saving, is delivered as the job left it although the next job writes the same name while the queue takes no result.
func TestFault_R1_NextJobOverwritesTheFile(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	waiting, release := p.held()
	for i, id := range []string{"a", "b"} {
		p.submit(id, linked(i+1))
		<-waiting
	}
	runs := p.comfy.Executions()
	a, b := runs[0].Files[0], runs[1].Files[0]
	if filepath.Dir(a.Path) != p.comfy.OutputDir() || a.SHA256 == b.SHA256 {
		t.Fatalf("ComfyUI wrote %+v and %+v, want two pictures outside of the jobs' folders", a, b)
	}
	second, err := os.ReadFile(b.Path) // takes the first one's place
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.Path, second, 0o644); err != nil {
		t.Fatal(err)
	}
	release()
	for i, id := range []string{"a", "b"} {
		d := p.source.wait(t, id)
		d.wantOutput(t, 1)
		if d.hashes[0] != p.made(i) {
			t.Errorf("the result of job %s has hash %s, the job made %s", id, d.hashes[0], p.made(i))
		}
	}
}

// linked is a job whose prefix is no plain string, so that its picture is saved
// where all jobs save theirs.
func linked(colour int) string {
	return fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":1,"color":%d}},
		"2":{"class_type":"PrimitiveString","inputs":{"value":"shared"}},
		"3":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":["2",0]}}}}`, colour)
}

// An output that /view cuts, answers with an error, with nothing or with a web page is asked for three times, and is then delivered whole or not at all: the job fails as output_fetch_failed and names the file.
func TestFault_H5_ViewIsAskedAgain(t *testing.T) {
	t.Parallel()
	broken := map[string]comfytest.Fault{
		"cut":   {On: "GET /view", Do: "truncate", After: 1000},
		"error": {On: "GET /view", Do: "answer", Status: http.StatusInternalServerError, Body: "<html>sorry</html>", Type: "text/html"},
		"empty": {On: "GET /view", Do: "answer", Status: http.StatusOK},
		"page":  {On: "GET /view", Do: "answer", Status: http.StatusOK, Body: "<!DOCTYPE html><html>sorry</html>", Type: "text/html"},
	}
	for name, fault := range broken {
		for _, count := range []int{viewTries - 1, viewTries} {
			fault := fault
			fault.Count = count
			t.Run(fmt.Sprint(name, " ", count), func(t *testing.T) {
				t.Parallel()
				p := startPod(t, comfytest.Config{Faults: comfytest.Faults{fault}}, func(c *Config) { c.Slots[0].OutputDir = "" })
				d := p.do("a", simulated("SimFiles", `{"count":1,"bytes":200000,"kind":"images","ext":"png","filename_prefix":"x","seed":1}`))
				if count == viewTries {
					d.wantCause(t, CauseOutput)
					if !strings.Contains(d.Failure.Message, "x_00001_.png") {
						t.Errorf("the message does not name the file: %s", d.Failure.Message)
					}
					return
				}
				d.wantOutput(t, 1)
				if d.hashes[0] != p.made(0) {
					t.Errorf("the result has hash %s, ComfyUI wrote %s", d.hashes[0], p.made(0))
				}
			})
		}
	}
}
