package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// picture is the input of a job that paints a plain image.
func picture(colour int) string {
	return fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":1,"color":%d}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"ComfyUI"}}}}`, colour)
}

// simulated is the input of a job of one node of the simulator.
func simulated(class, inputs string) string {
	return fmt.Sprintf(`{"workflow":{"7":{"class_type":%q,"inputs":%s}}}`, class, inputs)
}

// slow is the input of a job that takes a while and saves a picture.
func slow(seconds float64, seed int) string {
	return fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"SimSleep","inputs":{"seconds":%v,"mode":"poll","steps":100,"seed":%d}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"ComfyUI"}}}}`, seconds, seed)
}

var local = map[string]string{"SERVE_API_LOCALLY": "true"}

func with(env map[string]string, more ...string) map[string]string {
	all := maps.Clone(env)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// queued starts comfyvisor as a serverless worker of a simulated queue.
func queued(t *testing.T, cfg runpodtest.Config, more ...string) (*program, *runpodtest.Server) {
	t.Helper()
	if cfg.APIKey == "" {
		cfg.APIKey = "rpa_test_key_0123456789"
	}
	q := runpodtest.NewServer(t, cfg)
	return start(t, options{env: with(q.Env(), more...)}), q
}

// ends waits for a job's end in the queue.
func ends(t *testing.T, q *runpodtest.Server, id string) runpodtest.Outcome {
	t.Helper()
	ctx, cancel := contextFor(t)
	defer cancel()
	o, err := q.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestExampleJobThroughTheLocalAPI(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(filepath.Join("..", "examples", "txt2img.json"))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, options{env: local})
	p.waitReady()
	var a answer
	p.post("/runsync", string(example), &a)
	if a.Status != "COMPLETED" || len(a.Output.Images) != 1 {
		t.Fatalf("answer = %+v", a)
	}
	image := a.Output.Images[0]
	if raw, err := base64.StdEncoding.DecodeString(image.Data); err != nil || http.DetectContentType(raw) != "image/png" {
		t.Errorf("image %s of %d bytes is no PNG: %v", image.Filename, len(raw), err)
	}
	if image.Type != "base64" || image.Filename != "ComfyUI_00001_.png" {
		t.Errorf("image = %+v", image)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}

// A serverless worker takes its jobs from the queue, one after another, and
// nothing is left in its directories.
func TestJobsFromTheQueue(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: time.Minute})
	for i := range 5 {
		q.Submit(fmt.Sprint("job-", i), picture(i))
	}
	for i := range 5 {
		if o := ends(t, q, fmt.Sprint("job-", i)); o.Status != runpodtest.Completed || !strings.Contains(string(o.Output), "ComfyUI_00001_.png") {
			t.Errorf("job-%d: %s %s %s", i, o.Status, o.Error, o.Output)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
	if err := q.Check(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "output", "*", "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// ComfyUI is killed while a job runs: the same job completes on the next
// incarnation, and the client sees nothing but time.
func TestFault_C2_KilledComfyUICostsNothing(t *testing.T) {
	t.Parallel()
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: with(local, "SIMCOMFY_VERSION", version)})
			p.waitReady()
			id := p.submit(slow(1, 1))
			p.waitLine("comfyui |", "got prompt")
			if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if a := p.result(id); a.Status != "COMPLETED" || len(a.Output.Images) != 1 {
				t.Errorf("answer = %+v", a)
			}
			p.waitLine("process exited", "killed by SIGKILL")
		})
	}
}

// A ComfyUI that cannot start: of twenty queued jobs not one is taken, and
// comfyvisor ends with 75 and ComfyUI's last lines in its own log.
func TestFault_C3_CrashLoopTakesNoJob(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "script.json")
	crash := `{"exit":1,"after":"10ms","print":"ModuleNotFoundError: No module named 'torchsde'\n"}`
	if err := os.WriteFile(script, []byte("["+strings.Repeat(crash+",", 9)+crash+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: "rpa_test_key_0123456789"})
	for i := range 20 {
		q.Submit(fmt.Sprint(i), picture(i))
	}
	p := start(t, options{env: with(q.Env(), "SIMCOMFY_SCRIPT", script, "LOG_FORMAT", "console")})
	if code := p.exit(); code != exitGaveUp {
		t.Errorf("exit code = %d, want %d", code, exitGaveUp)
	}
	ledger := q.Ledger()
	if ledger.Waiting != 20 || len(ledger.Takes) != 0 {
		t.Errorf("%d of 20 jobs wait after %d takes", ledger.Waiting, len(ledger.Takes))
	}
	if n := strings.Count(p.log(), "process running"); n != 5 {
		t.Errorf("ComfyUI was started %d times, want 5", n)
	}
	if last := lastLine(p.log()); !strings.Contains(last, "torchsde") || !strings.Contains(last, "crash loop") {
		t.Errorf("the last line tells neither what happened nor why: %s", last)
	}
	unhealthy := false
	for _, ping := range ledger.Pings {
		unhealthy = unhealthy || ping.Unhealthy != ""
	}
	if !unhealthy {
		t.Error("the queue was not told that the pod is unhealthy")
	}
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

// A workflow with an unknown node class fails at once, with the node and the
// class named, and ComfyUI is not restarted.
func TestFault_H1_UnknownNodeClassIsNamed(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	pid := p.comfyPID()
	begun := time.Now()
	a := p.job(`{"workflow":{"12":{"class_type":"NoSuchNode","inputs":{}}}}`)
	if a.Status != "FAILED" || a.Output.Cause != "workflow_invalid" || !hasAll(a.Error, []string{"12", "NoSuchNode"}) {
		t.Errorf("answer = %+v", a)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if now := p.comfyPID(); now != pid {
		t.Errorf("ComfyUI was restarted: pid %d, then %d", pid, now)
	}
}

// A stop while a job runs: it is finished, reported, and the program ends with 0.
func TestFault_P1_StopFinishesTheJobAtHand(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: time.Minute})
	q.Submit("a", slow(1, 1))
	p.waitLine("got prompt")
	p.signal(syscall.SIGTERM)
	q.Submit("b", picture(1))
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Errorf("job a: %+v", o)
	}
	if n := q.Ledger().Waiting; n != 1 {
		t.Errorf("%d jobs wait, want b alone", n)
	}
}

// A stop while a job runs that is too long for it: the job is reported as
// abandoned before ComfyUI is stopped, and the program ends with 143 in time.
func TestFault_P1_StopReportsTheJobThatIsTooLong(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: time.Minute}, "STOP_BUDGET", "6s", "COMFY_STOP_GRACE", "1s")
	q.Submit("a", slow(600, 1))
	p.waitLine("got prompt")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitAbandoned {
		t.Errorf("exit code = %d, want %d", code, exitAbandoned)
	}
	if o := ends(t, q, "a"); o.Status != runpodtest.Failed || !hasAll(string(o.Output), []string{"worker_shutdown", `"retryable":true`}) {
		t.Errorf("job a: %+v", o)
	}
	told, stopped := strings.Index(p.log(), "job failed"), strings.Index(p.log(), "process terminating")
	if told < 0 || stopped < told {
		t.Errorf("ComfyUI was stopped (%d) before the job was reported (%d)", stopped, told)
	}
}

// A second stop signal cuts everything short.
func TestFault_P3_SecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: time.Minute}, "STOP_BUDGET", "10m", "COMFY_STOP_GRACE", "5m")
	q.Submit("a", slow(600, 1))
	p.waitLine("got prompt")
	p.signal(syscall.SIGTERM)
	p.waitLine("told to stop")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitAbandoned {
		t.Errorf("exit code = %d, want %d", code, exitAbandoned)
	}
	if o := ends(t, q, "a"); o.Status != runpodtest.Failed || !strings.Contains(string(o.Output), "worker_shutdown") {
		t.Errorf("job a: %+v", o)
	}
}

// Faults of the configuration are told all at once, by name, and never with the
// value of a secret.
func TestFaultsOfTheConfigurationAreToldAtOnce(t *testing.T) {
	t.Parallel()
	const canary = "s3cr3t-canary-value"
	p := start(t, options{env: with(local,
		"COMFY_LOG_LEVEL", "verbose", "WEBSOCKET_RECONNECT_ATTEMPTS", "many", "REFRESH_WORKER", "perhaps",
		"BUCKET_ENDPOINT_URL", "https://b.s3.eu-west-1.amazonaws.com", "BUCKET_SECRET_ACCESS_KEY", canary)})
	if code := p.exit(); code != exitConfig {
		t.Errorf("exit code = %d, want %d", code, exitConfig)
	}
	said := p.log() + p.stdout.String()
	want := []string{"COMFY_LOG_LEVEL", "verbose", "DEBUG, INFO, WARNING, ERROR, CRITICAL",
		"WEBSOCKET_RECONNECT_ATTEMPTS", "many", "REFRESH_WORKER", "perhaps", "BUCKET_ACCESS_KEY_ID"}
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("nothing said of %q in:\n%s", w, said)
		}
	}
	if strings.Contains(said, canary) {
		t.Errorf("a secret was told:\n%s", said)
	}
}

func TestStartWithoutASourceNamesTheWaysOut(t *testing.T) {
	t.Parallel()
	p := start(t, options{})
	if code := p.exit(); code != exitConfig {
		t.Errorf("exit code = %d, want %d", code, exitConfig)
	}
	said := p.log() + p.stdout.String()
	for _, w := range []string{"SERVE_API_LOCALLY", "RUNPOD_WEBHOOK_GET_JOB", "comfyvisor run FILE"} {
		if !strings.Contains(said, w) {
			t.Errorf("nothing said of %q in: %s", w, said)
		}
	}
}

func TestRunDoesTheOneJobInAFile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, input string
		code        int
		status      string
	}{
		{"good", picture(1), exitDone, "COMPLETED"},
		{"bad", simulated("NoSuchNode", `{}`), exitJobFailed, "FAILED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "job.json")
			if err := os.WriteFile(file, []byte(`{"input":`+tt.input+`}`), 0o644); err != nil {
				t.Fatal(err)
			}
			p := start(t, options{args: []string{"run", file}})
			if code := p.exit(); code != tt.code {
				t.Errorf("exit code = %d, want %d", code, tt.code)
			}
			var a answer
			if err := json.Unmarshal(p.stdout.Bytes(), &a); err != nil || a.Status != tt.status {
				t.Errorf("result = %+v (%v): %.300s", a, err, p.stdout.String())
			}
		})
	}
}

// REFRESH_WORKER on the queue: one job, its result asks for the pod to be
// stopped, nothing else is taken, exit 0.
func TestFault_J10_RefreshOnTheQueueEndsThePod(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: time.Minute}, "REFRESH_WORKER", "true")
	q.Submit("a", picture(1))
	q.Submit("b", picture(2))
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed || !o.StopPod {
		t.Errorf("job a: %+v", o)
	}
	if n := q.Ledger().Waiting; n != 1 {
		t.Errorf("%d jobs wait, want b alone", n)
	}
}

// REFRESH_WORKER with the local API: ComfyUI is another process for each job,
// and the API lives on.
func TestRefreshWithTheLocalAPIRestartsComfyUI(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "REFRESH_WORKER", "true")})
	p.waitReady()
	for i := range 3 {
		if a := p.job(picture(i)); a.Status != "COMPLETED" {
			t.Fatalf("job %d: %+v", i, a)
		}
	}
	var state struct{ Instances []struct{ Incarnation int } }
	p.get(p.status+"/debug/state", &state)
	if state.Instances[0].Incarnation < 3 {
		t.Errorf("incarnation %d after three jobs", state.Instances[0].Incarnation)
	}
}

// Without a GPU no job is taken and the exit code says it.
func TestFault_L8_NoGPURefusesTheStart(t *testing.T) {
	if _, err := os.Stat("/dev/nvidia0"); err == nil {
		t.Skip("this machine has a GPU")
	}
	t.Parallel()
	p, q := queued(t, runpodtest.Config{}, "COMFY_CPU", "false")
	q.Submit("a", picture(1))
	if code := p.exit(); code != exitNoGPU {
		t.Errorf("exit code = %d, want %d", code, exitNoGPU)
	}
	if n := len(q.Ledger().Takes); n != 0 {
		t.Errorf("%d takes", n)
	}
	p.waitsFor("COMFY_CPU")
}

// waitsFor fails the test unless the log, of a program that has ended, has all words.
func (p *program) waitsFor(words ...string) {
	p.t.Helper()
	if log := p.log(); !hasAll(log, words) {
		p.t.Errorf("the log lacks %q", words)
	}
}

// A port in use ends the program at once, before ComfyUI is started.
func TestFault_A5_PortInUseIsTold(t *testing.T) {
	t.Parallel()
	first := start(t, options{env: local})
	first.waitReady()
	second := start(t, options{env: with(local, "API_PORT", first.env["API_PORT"])})
	if code := second.exit(); code != exitConfig {
		t.Errorf("exit code = %d, want %d", code, exitConfig)
	}
	second.waitsFor("API_PORT", first.env["API_PORT"], "address already in use")
	if strings.Contains(second.log(), "process running") {
		t.Error("ComfyUI was started")
	}
}

func TestMissingExecutableIsAFaultOfTheConfiguration(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "COMFY_COMMAND", "/no/such/python main.py")})
	if code := p.exit(); code != exitConfig {
		t.Errorf("exit code = %d, want %d", code, exitConfig)
	}
	p.waitsFor("/no/such/python", "no such file")
}

// As the first process of a PID namespace it does jobs, survives ComfyUI's
// death, reaps, and stops.
func TestPodAsPID1(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local, pid1: true})
	p.waitReady()
	if a := p.job(simulated("SimFork", `{"count":20}`)); a.Status != "COMPLETED" {
		t.Errorf("job: %+v", a)
	}
	id := p.submit(simulated("SimDie", `{"how":"sigsegv"}`))
	if a := p.result(id); a.Status != "FAILED" || a.Output.Cause != "comfyui_crashed" || !strings.Contains(a.Error, "SIGSEGV") {
		t.Errorf("job: %+v", a)
	}
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("job: %+v", a)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}
