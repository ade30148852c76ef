package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

func TestBadCommandLinesExitLikeArgparse(t *testing.T) {
	tests := []struct {
		args       string
		old, young string
	}{
		{"--no-such-flag", "unrecognized arguments: --no-such-flag", ""},
		{"--port abc", "argument --port: invalid int value: 'abc'", ""},
		{"--port", "argument --port: expected one argument", ""},
		{"--verbose debug", "argument --verbose: invalid choice: 'debug' (choose from 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')", "--verbose expects no values, a console LEVEL, or LEVEL FILE"},
		{"--user-directory /nope", "argument --user-directory: The path '/nope' does not exist.", ""},
		{"--highvram --lowvram", "argument --lowvram: not allowed with argument --highvram", ""},
	}
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		for _, tt := range tests {
			t.Run(version+" "+tt.args, func(t *testing.T) {
				p := start(t, []string{"SIMCOMFY_VERSION=" + version}, strings.Fields(tt.args)...)
				if got := p.end(); got != "exit status 2" {
					t.Errorf("ended with %s", got)
				}
				want := tt.old
				if version == comfytest.V0330 && tt.young != "" {
					want = tt.young
				}
				stdout, stderr := p.output()
				if !strings.HasPrefix(stderr, "usage: main.py [-h]") || !strings.HasSuffix(stderr, "main.py: error: "+want+"\n") || stdout != "" {
					t.Errorf("stdout %q, stderr %q, want the usage and %q", stdout, stderr, want)
				}
			})
		}
	}
}

func TestStandardFlagsAreTaken(t *testing.T) {
	out := filepath.Join(t.TempDir(), "made")
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		p := start(t, []string{"SIMCOMFY_VERSION=" + version}, "--disable-auto-launch", "--disable-metadata", "--verbose", "INFO", "--log-stdout",
			"--port", "0", "--listen", "127.0.0.1", "--output-directory", out, "--database-url", "sqlite:///:memory:", "--cache-none", "--reserve-vram", "1.5").await()
		p.post("SimFiles", map[string]any{"bytes": 10})
		if files := p.ended(1)[0].Files; len(files) != 1 || filepath.Dir(files[0].Path) != out {
			t.Errorf("files %v, want one in %s", files, out)
		}
		p.untilSaid("Prompt executed in")
		p.signal(syscall.SIGTERM)
		if got := p.end(); got != "signal: terminated" {
			t.Errorf("ended with %s", got)
		}
		stdout, stderr := p.output()
		if stderr != "" || !inOrder(stdout, "ComfyUI version: "+version, "Starting server", "To see the GUI", "got prompt", "Prompt executed in") {
			t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
		}
		if colored := strings.HasPrefix(stdout, "\x1b[32m[INFO]\x1b[0m "); colored != (version == comfytest.V0330) {
			t.Errorf("%s: coloured %v", version, colored)
		}
	}
}

func inOrder(text string, parts ...string) bool {
	for _, part := range parts {
		_, rest, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = rest
	}
	return true
}

func TestErrorsGoToStderrAndLevelsAreKept(t *testing.T) {
	p := start(t, nil, "--port", "0", "--log-stdout").await()
	p.post("SimRaise", map[string]any{"message": "boom"})
	p.untilSaid("Prompt executed in")
	p.signal(syscall.SIGKILL)
	p.end()
	stdout, stderr := p.output()
	if !strings.Contains(stderr, "!!! Exception during processing !!! boom") || strings.Contains(stderr, "got prompt") || !strings.Contains(stdout, "got prompt") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
	}

	p = start(t, nil, "--port", "0").await() // without --log-stdout all is on stderr
	p.signal(syscall.SIGKILL)
	p.end()
	if stdout, _ := p.output(); stdout != "" {
		t.Errorf("stdout %q", stdout)
	}

	port := freePort(t)
	p = start(t, nil, "--port", port, "--verbose", "ERROR", "--dont-print-server")
	p.url = "http://127.0.0.1:" + port
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if res, err := http.Get(p.url + "/prompt"); err == nil {
			res.Body.Close()
			break
		}
	}
	p.signal(syscall.SIGKILL)
	p.end()
	if stdout, stderr := p.output(); stdout+stderr != "" {
		t.Errorf("a quiet start said %q %q", stdout, stderr)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func TestInterruptIsSlowAndClean(t *testing.T) {
	p := start(t, []string{"SIMCOMFY_TEARDOWN=600ms"}, "--port", "0").await()
	p.signal(syscall.SIGHUP) // ignored
	p.post("SimSleep", map[string]any{"seconds": 60})
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p.signal(syscall.SIGINT)
	p.untilSaid("Stopped server")
	fmt.Fprintf(conn, "GET /prompt HTTP/1.1\r\nHost: x\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
		t.Errorf("the half-dead process answered %q", line)
	}
	if got := p.end(); got != "exit status 0" {
		t.Errorf("ended with %s", got)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "temp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temp is still there: %v", err)
	}
}

func TestDeathsInNodes(t *testing.T) {
	for how, want := range map[string]string{
		"sigkill": "signal: killed", "sigsegv": "signal: segmentation fault", "abort": "signal: aborted",
		"sigterm": "signal: terminated", "exit:3": "exit status 3", "sigint": "exit status 0",
	} {
		t.Run(how, func(t *testing.T) {
			p := start(t, nil, "--port", "0").await()
			p.post("SimDie", map[string]any{"how": how})
			got, _, _ := strings.Cut(p.end(), " (core dumped)")
			if got != want {
				t.Errorf("ended with %s, want %s", got, want)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for version, want := range map[string]string{
		comfytest.V0364: "OSError: [Errno 98] error while attempting to bind on address ('127.0.0.1', " + port + "): [errno 98] address already in use",
		comfytest.V0330: "Port " + port + " is already in use on address 127.0.0.1.",
	} {
		p := start(t, []string{"SIMCOMFY_VERSION=" + version}, "--port", port)
		if got := p.end(); got != "exit status 1" {
			t.Errorf("%s: ended with %s", version, got)
		}
		if _, stderr := p.output(); !inOrder(stderr, "Starting server", want) {
			t.Errorf("%s: stderr %s", version, stderr)
		}
	}
	p := start(t, nil, "--port", "99999")
	if got := p.end(); got != "exit status 1" {
		t.Errorf("port 99999: ended with %s", got)
	}
}

func TestBaseDirectoryNeedsCustomNodes(t *testing.T) {
	base := t.TempDir()
	p := start(t, nil, "--port", "0", "--base-directory", base)
	if got := p.end(); got != "exit status 1" {
		t.Errorf("ended with %s", got)
	}
	if err := os.Mkdir(filepath.Join(base, "custom_nodes"), 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, nil, "--port", "0", "--base-directory", base).await()
	if _, err := os.Stat(filepath.Join(base, "output")); err != nil {
		t.Error(err)
	}
}

func TestScriptActsOncePerStart(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script.json")
	acts := `[{"exit":7,"after":"10ms"},{"signal":9,"after":"10ms","hang":true},{"exit":3,"after":"10ms","ready":true},{"faults":[{"on":"GET /queue","do":"answer","status":418}]}]`
	if err := os.WriteFile(script, []byte(acts), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"SIMCOMFY_SCRIPT=" + script, "SIMCOMFY_LEDGER=" + filepath.Join(dir, "ledger")}
	for _, want := range []string{"exit status 7", "signal: killed", "exit status 3"} {
		if got := start(t, env, "--port", "0").end(); got != want {
			t.Errorf("ended with %s, want %s", got, want)
		}
	}
	for _, want := range []int{418, 200} {
		p := start(t, env, "--port", "0").await()
		res, err := http.Get(p.url + "/queue")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET /queue: %d, want %d", res.StatusCode, want)
		}
		p.post("SimText", map[string]any{"text": "x"})
		p.ended(1)
	}
	lines, err := os.ReadFile(filepath.Join(dir, "ledger"))
	if err != nil || bytes.Count(lines, []byte("\n")) != 4 || !bytes.Contains(lines, []byte(`"outcome":"success"`)) {
		t.Errorf("ledger of two executions: %v\n%s", err, lines)
	}
}

// A child of a node outlives the process and holds its output pipe open.
func TestChildOfANodeOutlivesTheProcess(t *testing.T) {
	port := freePort(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	p := &program{t: t, dir: t.TempDir(), exited: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], "--port", "0", "--log-stdout")
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout = p.dir, append(os.Environ(), asProgram+"=1", "SIMCOMFY_BOOT=30ms"), write
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	defer func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }()
	lines := bufio.NewScanner(read)
	for p.url == "" && lines.Scan() {
		_, p.url, _ = strings.Cut(lines.Text(), "To see the GUI go to: ")
	}
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	p.post("SimFork", map[string]any{"count": 1, "hold_stdout": true, "port": n})
	p.ended(1)
	p.signal(syscall.SIGTERM)
	if _, err := p.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the child does not hold its port: %v", err)
		}
	}
	_ = read.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := io.Copy(io.Discard, read); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the pipe of a dead process with a living child: %v, want no end", err)
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = read.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, read); err != nil {
		t.Errorf("the pipe after the group was killed: %v", err)
	}
}

func TestEnvironmentIsShown(t *testing.T) {
	p := start(t, []string{"SECRET_OF_THE_TEST=visible"}, "--port", "0").await()
	p.post("SimEnv", map[string]any{})
	id := p.ended(1)[0].PromptID
	res, err := http.Get(p.url + "/history/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); !bytes.Contains(text, []byte("SECRET_OF_THE_TEST=visible")) {
		t.Errorf("history %s", text)
	}
}

func TestManagerReboot(t *testing.T) {
	session := filepath.Join(t.TempDir(), "session")
	p := start(t, []string{"__COMFY_CLI_SESSION__=" + session}, "--port", "0").await()
	_, _ = http.Post(p.url+"/v2/manager/reboot", "", nil)
	if got := p.end(); got != "exit status 0" {
		t.Errorf("ended with %s", got)
	}
	if _, err := os.Stat(session + ".reboot"); err != nil {
		t.Error(err)
	}

	p = start(t, nil, "--port", "0").await()
	_, _ = http.Get(p.url + "/manager/reboot")
	p.await()
	select {
	case <-p.exited:
		t.Error("the reboot was not in place")
	default:
	}
}
