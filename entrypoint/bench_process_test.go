package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A signpost is a script in the place of ComfyUI, with a named pipe to which it
// writes what it has come to. Then it becomes a relay to the simulated ComfyUI of
// a stand, because comfyvisor wants to see its port held by its own process.
type signpost struct {
	dir, pipe, script string
	port              string // of ComfyUI
	marks             chan mark
}

// A mark is a line of a script.
type mark struct {
	at   time.Time
	text string
}

// newSignpost makes a script that writes its process id and then does body.
func newSignpost(tb testing.TB, s *stand, body string) *signpost {
	tb.Helper()
	if _, err := comfyvisor(); err != nil { // built before anything is measured
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	post := &signpost{
		dir: dir, pipe: filepath.Join(dir, "signpost"), script: filepath.Join(dir, "comfyui"),
		port: unusedPort(tb), marks: make(chan mark, 100),
	}
	text := fmt.Sprintf("#!/bin/sh\necho $$ >%s\n%s\nexec %s 127.0.0.1:%s %s\n",
		post.pipe, strings.ReplaceAll(body, "SIGNPOST", post.pipe), buildSource(tb, "relay", relaySource), post.port, s.comfy.Addr)
	writeScript(tb, post.script, text)
	post.read(tb)
	return post
}

func (s *signpost) read(tb testing.TB) {
	tb.Helper()
	if err := unix.Mkfifo(s.pipe, 0o600); err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(s.pipe, os.O_RDWR, 0) // it never ends, whoever closes it
	if err != nil {
		tb.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for in := bufio.NewScanner(f); in.Scan(); {
			s.marks <- mark{time.Now(), in.Text()}
		}
	}()
	tb.Cleanup(func() {
		f.Close()
		<-read
	})
}

const relaySource = `package main

import (
	"io"
	"net"
	"os"
)

func main() {
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	for {
		from, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go relay(from, os.Args[2])
	}
}

func relay(from net.Conn, addr string) {
	defer from.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	go func() { defer to.Close(); io.Copy(to, from) }()
	io.Copy(from, to)
}
`

// buildSource builds a program of one file, which imports the standard library
// alone.
func buildSource(tb testing.TB, name, source string) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		tb.Fatal(err)
	}
	binary, err := build(name, file)
	if err != nil {
		tb.Fatal(err)
	}
	return binary
}

func unusedPort(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// A launched is the program as it is shipped, with a signpost for its ComfyUI.
type launched struct {
	*stand
	cmd  *exec.Cmd
	at   time.Time
	gate chan time.Time // each opening
	read chan struct{}  // closed at the end of its output

	last   []string // lines of its log, once read is closed
	stderr bytes.Buffer
	ended  bool
}

// toldLines is how much of a program's log is told when something is wrong.
const toldLines = 40

// launch runs comfyvisor with its queue and ComfyUI.
func (s *stand) launch(post *signpost) *launched {
	s.tb.Helper()
	binary, err := comfyvisor()
	if err != nil {
		s.tb.Fatal(err)
	}
	p := &launched{stand: s, cmd: exec.Command(binary), gate: make(chan time.Time, 1000), read: make(chan struct{})}
	for name, value := range with(s.queue.env(),
		"PATH", os.Getenv("PATH"), "COMFY_COMMAND", post.script, "COMFY_HOME", post.dir, "COMFY_PORT", post.port,
		"COMFY_OUTPUT_DIR", s.comfy.OutputDir(), "COMFY_CPU", "true", "RESULT_LIMIT_MB", "0",
		"STATUS_ADDR", "127.0.0.1:0", "DATA_DIR", s.tb.TempDir(), "LOG_FORMAT", "json",
	) {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	p.cmd.Stderr, p.cmd.WaitDelay = &p.stderr, patience
	p.at = time.Now()
	if err := p.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	go func() {
		defer close(p.read)
		in := bufio.NewScanner(out)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			if bytes.Contains(in.Bytes(), []byte(`"gate open"`)) {
				p.gate <- time.Now()
			}
			p.last = append(p.last[max(0, len(p.last)-toldLines+1):], in.Text())
		}
	}()
	s.tb.Cleanup(p.stop) // if what it is measured for has not come
	return p
}

// stop ends comfyvisor and forgets that it asked for jobs. If something went wrong it
// tells what comfyvisor said last, its state with it.
func (p *launched) stop() {
	if p.ended {
		return
	}
	p.ended = true
	if p.tb.Failed() {
		_ = p.cmd.Process.Signal(syscall.SIGUSR1) // it logs its state
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if !p.silent(patience) {
		p.tb.Error("comfyvisor was told to stop and did not")
		_ = p.cmd.Process.Kill()
		<-p.read
	}
	_ = p.cmd.Wait() // the exit code tells nothing here
	if p.tb.Failed() {
		p.tb.Logf("comfyvisor said last:\n%s\n%s", strings.Join(p.last, "\n"), &p.stderr)
	}
	select {
	case <-p.queue.asked:
	default:
	}
}

// silent waits for the end of comfyvisor's output.
func (p *launched) silent(within time.Duration) bool {
	late := time.After(within)
	for {
		select {
		case <-p.read:
			return true
		case <-late:
			return false
		case <-p.queue.asked:
		case <-time.After(20 * time.Millisecond):
			p.queue.CloseClientConnections() // an open poll would be read on for 2 s
		}
	}
}

// memory is a line of /proc/PID/status in MB, such as VmRSS or VmHWM.
func (p *launched) memory(name string) float64 { return memoryOf(p.tb, p.cmd.Process.Pid, name) }

func memoryOf(tb testing.TB, pid int, name string) float64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), name+":")
	kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseFloat(kb, 64)
	if err != nil {
		tb.Fatalf("%s of process %d: %v", name, pid, err)
	}
	return n * 1024 / 1e6
}

// processor is how long all threads have been on a processor.
func (p *launched) processor() (sum time.Duration) {
	p.tb.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		p.tb.Fatalf("threads of comfyvisor: %v, %v", threads, err)
	}
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(stat), &ns); err != nil {
			p.tb.Fatalf("%s: %v", name, err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
