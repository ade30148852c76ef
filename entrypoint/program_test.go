package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// patience bounds every wait of a test for an event that must come.
const patience = 60 * time.Second

// asProgram is the variable that makes the test binary be comfyvisor itself.
const asProgram = "COMFYVISOR_TEST_PROGRAM"

// fakecomfy is the simulated ComfyUI, built once.
var fakecomfy = sync.OnceValues(func() (string, error) {
	return build("fakecomfy", "github.com/comfyvisor/comfyvisor/internal/comfytest/fakecomfy")
})

// buildDir holds what tests build. TestMain removes it.
var buildDir string

// build compiles a program as make build does.
func build(name, pkg string) (string, error) {
	file := filepath.Join(buildDir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return file, nil
}

// writeScript makes a program of a text. A child that is forked while its file is
// open for writing would keep that open until it starts its own program, and nobody
// can start the file meanwhile (ETXTBSY); so none is forked.
func writeScript(tb testing.TB, file, text string) {
	tb.Helper()
	syscall.ForkLock.RLock()
	err := os.WriteFile(file, []byte(text), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		tb.Fatal(err)
	}
}

// A program is comfyvisor as a process of its own, with a simulated ComfyUI.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	dir string // its ComfyUI's base directory, with the ledger in it
	env map[string]string

	out         *os.File // the end of the log that is read
	api, status string   // URLs
	stdout      bytes.Buffer

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with each line
	ended chan struct{}
	code  int
}

// options are what a test changes of a program.
type options struct {
	env  map[string]string
	args []string
	// binary is the executable; by default the test binary, race detector and all.
	binary string
	// pid1 makes the test binary the first process of a PID namespace of its own.
	pid1 bool
	// stdout is its standard output; by default it is gathered as the log.
	stdout *os.File
}

// start runs comfyvisor until the test ends.
func start(t *testing.T, o options) *program {
	t.Helper()
	fake, err := fakecomfy()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, dir: t.TempDir(), more: make(chan struct{}), ended: make(chan struct{})}
	if err := os.Mkdir(filepath.Join(p.dir, "custom_nodes"), 0o755); err != nil { // ComfyUI wants it
		t.Fatal(err)
	}
	comfy, api, status := strconv.Itoa(freePorts(t, 8)), freePort(t), freePort(t)
	p.api, p.status = "http://127.0.0.1:"+api, "http://127.0.0.1:"+status
	p.env = map[string]string{
		asProgram: "1", "PATH": os.Getenv("PATH"), "HOME": p.dir, "GORACE": os.Getenv("GORACE"),
		"COMFY_COMMAND": fake + " --base-directory " + p.dir, "COMFY_HOME": p.dir, "COMFY_PORT": comfy,
		"COMFY_CPU": "true", "COMFY_LOG_LEVEL": "INFO", "RESTART_BACKOFF": "20ms",
		"API_HOST": "127.0.0.1", "API_PORT": api, "STATUS_ADDR": "127.0.0.1:" + status, "DATA_DIR": filepath.Join(p.dir, "data"),
		"SIMCOMFY_BOOT": "20ms", "SIMCOMFY_STEP": "5ms", "SIMCOMFY_LEDGER": filepath.Join(p.dir, "ledger.jsonl"),
	}
	maps.Copy(p.env, o.env)
	if o.binary == "" {
		if o.binary, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	if o.pid1 {
		p.env[asProgram] = inNamespace
	}
	p.cmd = exec.Command(o.binary, o.args...)
	p.cmd.Dir = p.dir
	for name, value := range p.env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if o.stdout != nil {
		p.cmd.Stdout = o.stdout
	}
	if o.pid1 {
		p.cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
		if os.Geteuid() != 0 {
			p.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			p.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			p.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
	}
	p.run()
	return p
}

// run starts the process and gathers its log.
func (p *program) run() {
	p.t.Helper()
	logs := p.cmd.StdoutPipe
	if p.cmd.Stdout != nil {
		logs = p.cmd.StderrPipe
	} else if p.cmd.Stdout = &p.stdout; len(p.cmd.Args) > 1 && p.cmd.Args[1] == "run" {
		logs = p.cmd.StderrPipe // stdout is the result
	} else {
		p.cmd.Stdout = nil
		p.cmd.Stderr = &p.stdout
	}
	out, err := logs()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start comfyvisor: %v", err)
	}
	p.out, _ = out.(*os.File)
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.gather(out)
	}()
	go func() {
		<-read
		_ = p.cmd.Wait() // the exit status says it
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.ended)
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it stops its ComfyUI, too
		select {
		case <-p.ended:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.ended
			p.t.Error("comfyvisor had to be killed")
		}
		if p.t.Failed() {
			p.t.Logf("log of comfyvisor:\n%s%s", p.log(), p.stdout.String())
		}
	})
}

func (p *program) gather(r io.Reader) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, in.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// log is all that it has logged so far.
func (p *program) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n") + "\n"
}

// waitLine waits for a line of the log that has all words.
func (p *program) waitLine(words ...string) string {
	p.t.Helper()
	line, _ := p.waitLineFrom(0, words...)
	return line
}

func hasAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// waitReady waits until the gate is open.
func (p *program) waitReady() {
	p.t.Helper()
	p.waitLine("gate open")
}

// signal sends one to comfyvisor.
func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("send %v: %v", sig, err)
	}
}

// exit waits for the end and returns the exit code.
func (p *program) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("comfyvisor does not end")
	}
	return p.code
}

// comfyPID is the process id of the ComfyUI that runs now.
func (p *program) comfyPID() int {
	p.t.Helper()
	var state struct{ Instances []struct{ PID int } }
	p.get(p.status+"/debug/state", &state)
	if len(state.Instances) == 0 || state.Instances[0].PID == 0 {
		p.t.Fatalf("no process: %+v", state)
	}
	return state.Instances[0].PID
}

// get asks for JSON and returns the status code.
func (p *program) get(url string, into any) int {
	p.t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.read(resp, into)
}

// post sends a job and reads the answer.
func (p *program) post(path, body string, into any) int {
	p.t.Helper()
	resp, err := client.Post(p.api+path, "application/json", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.read(resp, into)
}

// client keeps no connections, so that tests leave no goroutines.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (p *program) read(resp *http.Response, into any) int {
	p.t.Helper()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		p.t.Fatalf("answer %d: %v: %.500s", resp.StatusCode, err, raw)
	}
	return resp.StatusCode
}

// An answer is a job as the local API tells it.
type answer struct {
	ID, Status, Error string
	Output            struct {
		Cause  string
		Images []struct {
			Filename, Type, Data string
		}
	}
}

// job runs one job through /runsync, to its end.
func (p *program) job(input string) answer {
	p.t.Helper()
	var a answer
	p.post("/runsync?wait=120000", `{"input":`+input+`}`, &a)
	return a
}

// submit sends a job to be run in the background and returns its id.
func (p *program) submit(input string) string {
	p.t.Helper()
	var a answer
	if code := p.post("/run", `{"input":`+input+`}`, &a); code != http.StatusOK {
		p.t.Fatalf("/run answered %d: %+v", code, a)
	}
	return a.ID
}

// result waits for the end of a job.
func (p *program) result(id string) answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		var a answer
		p.get(p.api+"/status/"+id, &a)
		if a.Status != "IN_QUEUE" && a.Status != "IN_PROGRESS" {
			tick.Stop()
			return a
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("job %s does not end: %+v", id, a)
		}
	}
}

// executions are the prompts that its ComfyUIs have run to an end, as their
// ledger has them.
func (p *program) executions() []comfytest.Execution {
	p.t.Helper()
	raw, err := os.ReadFile(p.env["SIMCOMFY_LEDGER"])
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	var all []comfytest.Execution
	for line := range bytes.Lines(raw) {
		var e comfytest.Execution
		if err := json.Unmarshal(line, &e); err != nil {
			p.t.Fatalf("ledger: %v: %s", err, line)
		}
		if e.Outcome != comfytest.Running { // it has a line for the start, too
			all = append(all, e)
		}
	}
	return all
}

// freePort is a port that nobody uses and that no other call returns.
func freePort(t *testing.T) string { return strconv.Itoa(freePorts(t, 1)) }

// Ports of tests are below those that the kernel gives to clients, so that no
// connection of somebody else takes one between two runs of a program.
const (
	firstPort = 10_000
	manyPorts = 20_000
)

// usedPorts is how many were handed out, from a place on that differs from run
// to run.
var usedPorts = func() *atomic.Int64 {
	n := new(atomic.Int64)
	n.Store(rand.Int64N(manyPorts))
	return n
}()

// freePorts is the first of count ports in a row that nobody uses and that no
// other call returns.
func freePorts(t *testing.T, count int) int {
	t.Helper()
search:
	for range 1000 {
		first := firstPort + int(usedPorts.Add(int64(count))-int64(count))%manyPorts
		for i := range count {
			l, err := net.Listen("tcp", fmt.Sprintf(":%d", first+i))
			if err != nil {
				continue search
			}
			l.Close()
		}
		return first
	}
	t.Fatalf("no %d free ports in a row", count)
	return 0
}

// contextFor bounds a wait of a test.
func contextFor(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), patience)
}
