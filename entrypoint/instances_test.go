package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// side starts comfyvisor with so many ComfyUIs side by side.
func side(t *testing.T, count int, env map[string]string) *program {
	t.Helper()
	return start(t, options{env: with(env, "COMFY_INSTANCES", strconv.Itoa(count), "COMFY_PORT", strconv.Itoa(freePorts(t, count)))})
}

// instances are their states, as /debug/state tells them.
func (p *program) instances() []instanceState {
	p.t.Helper()
	var state struct{ Instances []instanceState }
	p.get(p.status+"/debug/state", &state)
	return state.Instances
}

// ran are the prompts that the ComfyUI with a number, which runs now, has run.
func (p *program) ran(number int) []comfytest.Execution {
	p.t.Helper()
	var ledger comfytest.Ledger
	p.get(p.nth(number)+"/sim/ledger", &ledger)
	return ledger.Executions
}

// nth is the URL of the ComfyUI with a number.
func (p *program) nth(number int) string {
	p.t.Helper()
	port, err := strconv.Atoi(p.env["COMFY_PORT"])
	if err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", port+number)
}

// allReady waits until so many ComfyUIs are.
func (p *program) allReady(count int) {
	p.t.Helper()
	p.waitReady()
	p.wait(fmt.Sprintf("%d ComfyUIs are ready", count), func() bool {
		ready := 0
		for _, in := range p.instances() {
			if in.Ready {
				ready++
			}
		}
		return ready == count
	})
}

// Nine jobs are done by three ComfyUIs, each with its own port, GPU, temporary
// files and prefix in the log.
func TestInstancesShareTheJobs(t *testing.T) {
	t.Parallel()
	p := side(t, 3, with(local, "COMFY_CPU", "false", "GPU_CHECK", "off", "CUDA_VISIBLE_DEVICES", "4,2,0"))
	p.allReady(3)
	var ids []string
	for i := range 9 {
		ids = append(ids, p.submit(slow(1, i)))
	}
	for _, id := range ids {
		p.result(id).wantDone(t)
	}
	total := 0
	for i := range 3 {
		ran := len(p.ran(i))
		if ran == 0 {
			t.Errorf("ComfyUI %d has run nothing", i)
		}
		total += ran
	}
	if total != 9 {
		t.Errorf("%d executions of 9 jobs", total)
	}
	p.waitLine("comfyui | got prompt")
	p.waitLine("comfyui.2 | got prompt")
	for i, gpu := range []string{"4", "2", "0"} {
		var stats struct{ System struct{ Argv []string } }
		p.get(p.nth(i)+"/system_stats", &stats)
		if temp := flagValue(stats.System.Argv, "--temp-directory"); (temp == "") != (i == 0) {
			t.Errorf("ComfyUI %d has the temporary directory %q", i, temp)
		}
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.instances()[i].PID))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(strings.Split(string(environ), "\x00"), "CUDA_VISIBLE_DEVICES="+gpu) {
			t.Errorf("ComfyUI %d is not given the GPU %s", i, gpu)
		}
	}
}

// A job that poisons one ComfyUI, and then the other, is to blame: it ends by the error
// of its node.
func TestJobThatPoisonsTwoInstancesIsToBlame(t *testing.T) {
	t.Parallel()
	p := side(t, 2, local)
	p.allReady(2)
	a := p.job(sticky(1))
	a.wantCause(t, "node_failed")
	if !strings.Contains(a.Error, "(SimRaise) raised torch.AcceleratorError") {
		t.Errorf("the error does not name the node: %s", a.Error)
	}
	p.allReady(2)
	for _, in := range p.instances() {
		if in.Incarnation != 2 {
			t.Errorf("%s was started %d times, want 2", in.Name, in.Incarnation)
		}
	}
	p.job(picture(1)).wantDone(t)
}

// One of three ComfyUIs is killed with a job inside: that job completes, and the
// other two notice nothing.
func TestInstanceThatDiesCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	p := side(t, 3, local)
	p.allReady(3)
	var ids []string
	for i := range 3 {
		ids = append(ids, p.submit(slow(4, i)))
	}
	p.wait("all three work", func() bool {
		return !slices.ContainsFunc(p.instances(), func(in instanceState) bool { return in.Job == "" })
	})
	if err := syscall.Kill(p.instances()[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		p.result(id).wantDone(t)
	}
	p.allReady(3)
	for i, want := range []int{0, 1, 0} {
		if in := p.instances()[i]; in.Restarts != want {
			t.Errorf("%s was restarted %d times, want %d", in.Name, in.Restarts, want)
		}
	}
}

// wrapped is a COMFY_COMMAND that runs a script before fakecomfy, in which $port
// is the port.
func wrapped(t *testing.T, script string) string {
	t.Helper()
	fake, err := fakecomfy()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "custom_nodes"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("#!/bin/sh\nport=$(echo \"$*\" | sed 's/.*--port \\([0-9]*\\).*/\\1/')\n%s\nexec %s --base-directory %s \"$@\"\n", script, fake, dir)
	file := filepath.Join(dir, "start")
	writeScript(t, file, text)
	return file
}

// A ComfyUI that cannot start is given up, and the pod goes on with the others.
func TestInstanceThatCannotStartDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	first := freePorts(t, 3)
	p := start(t, options{env: with(local, "COMFY_INSTANCES", "3", "COMFY_PORT", strconv.Itoa(first), "RESTART_BOOT_FAILURES", "2",
		"COMFY_COMMAND", wrapped(t, fmt.Sprintf("if [ $port = %d ]; then echo no driver >&2; exit 1; fi", first+1)))})
	p.waitLine("ComfyUI was given up, the others go on", "comfyui-1", "no driver")
	p.allReady(2)
	for i := range 4 {
		p.job(picture(i)).wantDone(t)
	}
	var ready json.RawMessage
	if code := p.get(p.status+"/readyz", &ready); code != http.StatusOK {
		t.Errorf("/readyz says %d: %s", code, ready)
	}
	if in := p.instances()[1]; in.Ready || !strings.Contains(in.Reason, "crash loop") {
		t.Errorf("state = %+v", in)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}

// When the last ComfyUI was given up the pod ends as one with a single ComfyUI
// does.
func TestPodEndsWithItsLastInstance(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "COMFY_INSTANCES", "2", "COMFY_PORT", strconv.Itoa(freePorts(t, 2)),
		"RESTART_BOOT_FAILURES", "2", "COMFY_COMMAND", wrapped(t, "echo no driver >&2; exit 1"))})
	if code := p.exit(); code != exitGaveUp {
		t.Errorf("exit code = %d, want %d", code, exitGaveUp)
	}
	p.waitsFor("no driver", "crash loop")
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, instances, cpu, cuda string
		want                       []place
	}{
		{"one", "1", "false", "0,1", []place{{name: "comfyui", child: "comfyui", port: 8188}}},
		{"one for each GPU", "auto", "false", "GPU-a,GPU-b", []place{
			{name: "comfyui", child: "comfyui", port: 8188, gpu: "GPU-a"},
			{name: "comfyui-1", child: "comfyui.1", port: 8189, gpu: "GPU-b"}}},
		{"two on one", "2", "false", "3", []place{
			{name: "comfyui", child: "comfyui", port: 8188, gpu: "3"},
			{name: "comfyui-1", child: "comfyui.1", port: 8189, gpu: "3"}}},
		{"each GPU, but none is used", "auto", "true", "0,1", []place{{name: "comfyui", child: "comfyui", port: 8188}}},
		{"two without a GPU", "2", "true", "0,1", []place{
			{name: "comfyui", child: "comfyui", port: 8188},
			{name: "comfyui-1", child: "comfyui.1", port: 8189}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := t.TempDir()
			environ := []string{"COMFY_INSTANCES=" + tt.instances, "COMFY_CPU=" + tt.cpu, "CUDA_VISIBLE_DEVICES=" + tt.cuda, "DATA_DIR=" + data}
			cfg, err := configFromEnv(environ)
			if err != nil {
				t.Fatal(err)
			}
			got, err := places(cfg, environ)
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(tt.want); i++ {
				tt.want[i].flags = [][]string{{"--temp-directory", filepath.Join(data, tt.want[i].name)}, {"--database-url", "sqlite:///:memory:"}}
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(place{})); diff != "" {
				t.Errorf("places (-want +got):\n%s", diff)
			}
		})
	}
}

// The ports of all ComfyUIs are taken, and nobody else may have one of them.
func TestInstancesNeedTheirPorts(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, instances, port, says string }{
		{"in the way", "3", "7998", "API_PORT: port 8000 is that of COMFY_PORT"},
		{"beyond the last", "2", "65535", "leaves no ports for 2 ComfyUIs"},
		{"not a number", "many", "8188", "COMFY_INSTANCES=many: want auto, or a whole number from 1 to 32"},
		{"none", "0", "8188", "COMFY_INSTANCES=0: want auto"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := configFromEnv([]string{"SERVE_API_LOCALLY=true", "COMFY_INSTANCES=" + tt.instances, "COMFY_PORT=" + tt.port})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error = %v, want %q", err, tt.says)
			}
		})
	}
}

// A job whose ComfyUI dies and takes long to come back runs again on another
// that is free.
func TestLostJobGoesToTheFirstFreeInstance(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "COMFY_INSTANCES", "2", "COMFY_PORT", strconv.Itoa(freePorts(t, 2)),
		"COMFY_COMMAND", wrapped(t, "[ -e $HOME/$port ] && sleep 600; >$HOME/$port"))})
	p.allReady(2)
	id := p.submit(slow(2, 1))
	p.wait("one works", func() bool {
		return slices.ContainsFunc(p.instances(), func(in instanceState) bool { return in.Job != "" })
	})
	for i, in := range p.instances() {
		if in.Job == "" {
			continue
		}
		if err := syscall.Kill(in.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		p.result(id).wantDone(t)
		if ran := p.ran(1 - i); len(ran) != 1 {
			t.Errorf("%d executions on the other ComfyUI, want 1", len(ran))
		}
	}
}
