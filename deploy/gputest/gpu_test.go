//go:build gpu

package gputest

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The doctor finds the GPU without Python and without the vendor's libraries.
func TestDoctor(t *testing.T) {
	cmd := exec.Command(binary(t), "doctor")
	cmd.Env = []string{"COMFY_HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}
	text, _ := cmd.CombinedOutput() // an empty home is a finding of its own
	t.Logf("%s", text)
	for _, want := range []string{"nvidia, driver ", "/dev/nvidia0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in it", want)
		}
	}
}

// After whatever CUDA says, the next job succeeds. The process is replaced where it
// could not go on, and only there.
func TestNextJobAfterEachFault(t *testing.T) {
	p := start(t, "COMFY_INSTANCES=auto")
	p.wantImage(1)
	for i, tt := range []struct {
		fault    string
		replaced bool
	}{
		{"out_of_memory", false},
		{"out_of_memory_bit_by_bit", false},
		{"shapes", false},
		{"two_devices", false},
		{"no_such_device", false},
		{"launch_too_wide", false},
		{"pinned_out_of_memory", false},
		{"singular", false},
		{"index_assert", true},
		{"illegal_address", true},
		{"misaligned_address", true},
		{"trap", true},
		{"stack_overflow", true},
		{"triton_illegal_address", true},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			p.t = t
			before, begun := p.comfy(), time.Now()
			r := p.do(node("GpuFault", map[string]any{"fault": tt.fault, "seed": i}))
			if r.Status != "FAILED" {
				t.Errorf("the job is %s", r.Status)
			}
			ended := time.Since(begun)
			p.wantImage(100 + i)
			after := p.comfy()
			if !strings.Contains(r.Error, "node 1 (GpuFault) raised ") {
				t.Errorf("the error does not name the node: %s", r.Error)
			}
			t.Logf("failed after %v, next picture after %v, %d starts: %.400s", ended.Round(time.Millisecond),
				time.Since(begun).Round(time.Millisecond), after.Incarnation-before.Incarnation, r.Error)
			if got := after.PID != before.PID; got != tt.replaced {
				t.Errorf("replaced: %t, want %t; %s", got, tt.replaced, after.LastExit)
			}
		})
	}
	p.t = t
}

// A ComfyUI that is killed with most of the GPU's memory in use is started again at
// once, and the new one gets that memory.
func TestMemoryIsFreeAfterAKill(t *testing.T) {
	p := start(t)
	keep := func(seconds float64, seed int) map[string]any {
		return node("GpuKeep", map[string]any{"gigabytes": 60, "seconds": seconds, "seed": seed})
	}
	for round := range 3 {
		before := p.comfy()
		id := p.submit(keep(3, round))
		busy := time.NewTimer(2 * time.Second) // it has the memory and is at work
		<-busy.C
		begun := time.Now()
		kill(t, before.PID)
		r := p.await(id)
		after := p.comfy()
		t.Logf("killed; the job is %s after %v, %d starts: %s", r.Status, time.Since(begun).Round(time.Millisecond), after.Incarnation-before.Incarnation, after.LastExit)
		if r.Status != "COMPLETED" || after.PID == before.PID {
			t.Errorf("round %d: %s %s", round, r.Status, r.Error)
		}
		kill(t, after.PID) // it keeps the memory
		p.awaitReady(after.PID)
	}
}

// A kernel that never ends cannot be interrupted. Its job ends at its limit, its
// process is replaced, and the GPU is free for the next job.
func TestKernelThatNeverEnds(t *testing.T) {
	p := start(t)
	p.wantImage(1)
	before, begun := p.comfy(), time.Now()
	job := node("GpuSpin", map[string]any{"seed": 1})
	job["policy"] = map[string]any{"executionTimeout": 5000}
	r := p.do(job)
	ended := time.Since(begun)
	p.wantImage(2)
	after := p.comfy()
	t.Logf("%s after %v, next picture after %v: %.300s; %s", r.Status, ended.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond), r.Error, after.LastExit)
	if r.Status != "TIMED_OUT" || !strings.Contains(r.Error, "limit of 5s") {
		t.Errorf("the job is %s: %s", r.Status, r.Error)
	}
	if after.PID == before.PID {
		t.Error("ComfyUI was not replaced")
	}
}

// Two ComfyUIs may share a GPU. A job that poisons the one that runs it, and then the
// other, is told by its own error, and the jobs beside it are done. One that takes most
// of the memory costs nobody a restart.
func TestTwoOnOneGPU(t *testing.T) {
	p := start(t, "COMFY_INSTANCES=2")
	poison := p.submit(node("GpuFault", map[string]any{"fault": "illegal_address", "seed": 1}))
	p.wantAll(40)
	if r := p.await(poison); r.Status != "FAILED" || !strings.Contains(r.Error, "node 1 (GpuFault) raised ") {
		t.Errorf("the poisonous job is %s: %s", r.Status, r.Error)
	}
	p.awaitReady(0)
	before := p.comfys()
	if len(before) != 2 {
		t.Fatalf("%d ComfyUIs", len(before))
	}

	keep := p.submit(node("GpuKeep", map[string]any{"gigabytes": 60, "seconds": 5, "seed": 1}))
	busy := time.NewTimer(2 * time.Second) // it has the memory, and is at work
	<-busy.C
	r := p.do(node("GpuFault", map[string]any{"fault": "out_of_memory_bit_by_bit", "seed": 2}))
	t.Logf("with little memory left: %s %.300s", r.Status, r.Error)
	if r.Status != "FAILED" {
		t.Errorf("the job that wants all memory is %s", r.Status)
	}
	p.wantAll(10)
	if r := p.await(keep); r.Status != "COMPLETED" {
		t.Errorf("the job beside it is %s: %s", r.Status, r.Error)
	}
	for i, c := range p.comfys() {
		if c.PID != before[i].PID {
			t.Errorf("ComfyUI %d was replaced for want of memory: %s", i, c.LastExit)
		}
	}
}

// wantAll runs n jobs that have to succeed, as many at once as there is room for.
func (p *pod) wantAll(n int) {
	p.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = p.submit(image(1000 + i))
	}
	for i, id := range ids {
		if r := p.await(id); r.Status != "COMPLETED" {
			p.t.Errorf("picture %d is %s: %s", i, r.Status, r.Error)
		}
	}
}

// Many jobs, among them poisonous ones and ones that ask for too much, and a kill now
// and then: each ends as it has to.
func TestSoak(t *testing.T) {
	const rounds, each = 5, 90 // the queue takes 100
	p := start(t)
	wrong, begun := 0, time.Now()
	for round := range rounds {
		ids := make([]string, each)
		for i := range ids {
			ids[i] = p.submit(soakJob(i, round*each))
		}
		for i, id := range ids {
			r, want := p.await(id), "COMPLETED"
			if poisons(i) || overflows(i) {
				want = "FAILED"
			}
			if r.Status != want {
				wrong++
				t.Errorf("round %d, job %d is %s, want %s: %s", round, i, r.Status, want, r.Error)
			}
			if i%40 == 30 {
				kill(t, p.comfy().PID)
			}
		}
	}
	t.Logf("%d jobs in %v, %d starts of ComfyUI, %d wrong", rounds*each, time.Since(begun).Round(time.Second), p.comfy().Incarnation, wrong)
}

func poisons(i int) bool   { return i%40 == 17 }
func overflows(i int) bool { return i%20 == 7 }

func soakJob(i, base int) map[string]any {
	switch {
	case poisons(i):
		return node("GpuFault", map[string]any{"fault": "index_assert", "seed": base + i})
	case overflows(i):
		return node("GpuFault", map[string]any{"fault": "out_of_memory_bit_by_bit", "seed": base + i})
	}
	return image(base + i)
}
