package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// asProgram makes the test binary be fakecomfy.
const asProgram = "FAKECOMFY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A program is a running fakecomfy.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string
	url    string
	ready  chan string // the URL of the GUI line
	exited chan struct{}

	mu             sync.Mutex
	stdout, stderr bytes.Buffer
	changed        chan struct{} // closed, and replaced, at each write
}

// start runs fakecomfy in a directory of its own, in a process group of its
// own, which is killed when the test ends.
func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	return startIn(t, t.TempDir(), env, args...)
}

func startIn(t *testing.T, dir string, env []string, args ...string) *program {
	t.Helper()
	p := &program{t: t, dir: dir, ready: make(chan string, 1), exited: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Dir = dir
	p.cmd.Env = append(append(os.Environ(), asProgram+"=1", "SIMCOMFY_BOOT=30ms", "SIMCOMFY_TEARDOWN=100ms"), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stdout = &lineWatch{p: p, into: &p.stdout}
	p.cmd.Stderr = &lineWatch{p: p, into: &p.stderr}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	})
	return p
}

// A lineWatch collects a stream and finds the GUI line in it.
type lineWatch struct {
	p    *program
	into *bytes.Buffer
	rest []byte
}

func (w *lineWatch) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.into.Write(b)
	close(w.p.changed)
	w.p.changed = make(chan struct{})
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if _, url, ok := strings.Cut(string(w.rest[:i]), "To see the GUI go to: "); ok {
			select {
			case w.p.ready <- url:
			default:
			}
		}
		w.rest = w.rest[i+1:]
	}
}

func (p *program) output() (stdout, stderr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String(), p.stderr.String()
}

// untilSaid waits until one of the streams holds text.
func (p *program) untilSaid(text string) {
	p.t.Helper()
	patience := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		said := strings.Contains(p.stdout.String()+p.stderr.String(), text)
		changed := p.changed
		p.mu.Unlock()
		if said {
			return
		}
		select {
		case <-changed:
		case <-patience:
			p.t.Fatalf("never said %q", text)
		}
	}
}

// await waits until the program says that it listens.
func (p *program) await() *program {
	p.t.Helper()
	select {
	case p.url = <-p.ready:
	case <-p.exited:
		stdout, stderr := p.output()
		p.t.Fatalf("exited before it was ready: %v\n%s%s", p.cmd.ProcessState, stdout, stderr)
	case <-time.After(20 * time.Second):
		p.t.Fatal("never ready")
	}
	return p
}

// end waits for the exit: "exit status 2", "signal: killed".
func (p *program) end() string {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.String()
	case <-time.After(20 * time.Second):
		p.t.Fatal("did not exit")
		return ""
	}
}

func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// post sends a prompt of one node.
func (p *program) post(class string, inputs map[string]any) {
	p.t.Helper()
	body, _ := json.Marshal(map[string]any{"prompt": map[string]any{"1": map[string]any{"class_type": class, "inputs": inputs}}})
	res, err := http.Post(p.url+"/prompt", "application/json", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		p.t.Fatalf("POST /prompt: %d %s", res.StatusCode, text)
	}
}

// ended waits until n executions have ended and returns them.
func (p *program) ended(n int) []comfytest.Execution {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		res, err := http.Get(p.url + "/sim/ledger")
		if err != nil {
			p.t.Fatal(err)
		}
		var l comfytest.Ledger
		err = json.NewDecoder(res.Body).Decode(&l)
		res.Body.Close()
		if err != nil {
			p.t.Fatal(err)
		}
		if len(l.Executions) >= n && l.Executions[n-1].Outcome != comfytest.Running {
			return l.Executions
		}
		<-time.After(5 * time.Millisecond)
	}
	p.t.Fatalf("%d executions never ended", n)
	return nil
}
