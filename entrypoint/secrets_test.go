package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	hideMode   = "COMFYVISOR_TEST_HIDE"
	hideCanary = "canary-7c1e5f0b"
)

// hideReport is what a program says of itself after hideSecrets.
type hideReport struct {
	PID      int
	Warning  string
	Given    bool // the canary is in the environment that was returned
	Exposed  []string
	Names    []string
	Dumpable int
	Core     uint64
	Comm     string
}

// TestHideSecretsProgram is not a test but the program that the tests below
// start: it hides its secrets as main does, reports, and waits for its stdin to
// be closed.
func TestHideSecretsProgram(t *testing.T) {
	mode := os.Getenv(hideMode)
	if mode == "" {
		t.Skip("is run by other tests")
	}
	r := hideReport{PID: os.Getpid()}
	environ := os.Environ()
	if mode == "no descriptors" {
		useUpDescriptors(t)
	}
	if mode != "off" {
		var err error
		if environ, err = hideSecrets(); err != nil {
			r.Warning = err.Error()
		}
	}
	r.inspect(environ, mode == "no descriptors")
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// useUpDescriptors makes every further one be refused.
func useUpDescriptors(t *testing.T) {
	// A pipe starts the poller of the runtime, which ends the program if it
	// cannot get its descriptors later.
	if _, _, err := os.Pipe(); err != nil {
		t.Fatal(err)
	}
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: uint64(next)}); err != nil {
		t.Fatal(err)
	}
}

func (r *hideReport) inspect(environ []string, noFiles bool) {
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		r.Given = r.Given || value == hideCanary
		if strings.HasPrefix(name, "COMFYVISOR_SECRETS") {
			r.Names = append(r.Names, name)
		}
	}
	if strings.Contains(strings.Join(os.Environ(), "\n"), hideCanary) {
		r.Exposed = append(r.Exposed, "os.Environ")
	}
	r.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	var core unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	r.Core = core.Max
	if noFiles {
		return
	}
	for _, name := range []string{"environ", "cmdline"} {
		if b, err := os.ReadFile("/proc/self/" + name); err != nil || bytes.Contains(b, []byte(hideCanary)) {
			r.Exposed = append(r.Exposed, fmt.Sprint(name, " ", err))
		}
	}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, _ := os.Readlink(l); strings.Contains(to, "memfd") {
			r.Exposed = append(r.Exposed, l+" "+to)
		}
	}
	b, _ := os.ReadFile("/proc/self/comm")
	r.Comm = strings.TrimSpace(string(b))
}

// startHidden runs the program above until the test ends.
func startHidden(t *testing.T, mode string, env ...string) (r hideReport) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHideSecretsProgram$", "-test.v=false", "-test.count=1")
	// The race detector waits a second at the end of a program unless told not to.
	cmd.Env = append(env, hideMode+"="+mode, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := asContainerRoot(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	if err := json.NewDecoder(stdout).Decode(&r); err != nil {
		t.Fatalf("read report: %v", err)
	}
	if r.PID != cmd.Process.Pid {
		t.Errorf("the program is process %d, want the one that was started, %d", r.PID, cmd.Process.Pid)
	}
	return r
}

// The secrets are neither in /proc/1/environ nor in the command line nor in an
// open file, the program still has them, and its memory is closed to a root
// process with the capabilities that Docker gives.
func TestFault_X2_SecretsAreNotInProc(t *testing.T) {
	r := startHidden(t, "on", "BUCKET_SECRET_ACCESS_KEY="+hideCanary, "AWS_COPY=x"+hideCanary, "HARMLESS=1")
	if !r.Given || r.Warning != "" {
		t.Errorf("the program has its secret: %t, warning %q", r.Given, r.Warning)
	}
	if len(r.Exposed) > 0 || len(r.Names) > 0 {
		t.Errorf("the secret is exposed in %q, the environment has %q", r.Exposed, r.Names)
	}
	if r.Dumpable != 0 || r.Core != 0 {
		t.Errorf("dumpable %d, core limit %d; want neither", r.Dumpable, r.Core)
	}
	if want := filepath.Base(os.Args[0]); !strings.HasPrefix(want, r.Comm) || r.Comm == "" {
		t.Errorf("the program is called %q, want %q", r.Comm, want)
	}
	for _, file := range []string{"environ", "cmdline"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", r.PID, file))
		if err != nil && !errors.Is(err, fs.ErrPermission) || bytes.Contains(b, []byte(hideCanary)) {
			t.Errorf("%s shows the secret, or: %v", file, err)
		}
	}
	for file, err := range readAsContainerRoot(t, r.PID) {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s can be opened: %v", file, err)
		}
	}
}

// Without hiding, the same looks find the secret: the test above can fail.
func TestUnhiddenSecretsAreInProc(t *testing.T) {
	r := startHidden(t, "off", "BUCKET_SECRET_ACCESS_KEY="+hideCanary)
	if len(r.Exposed) != 2 || !r.Given {
		t.Errorf("exposed in %q, want os.Environ and environ", r.Exposed)
	}
	for file, err := range readAsContainerRoot(t, r.PID) {
		if err != nil {
			t.Errorf("%s cannot be opened: %v", file, err)
		}
	}
}

// readAsContainerRoot opens files of another process with the capabilities that
// a container has by default, and returns what each attempt gave.
func readAsContainerRoot(t *testing.T, pid int) map[string]error {
	t.Helper()
	results := make(map[string]error)
	err := asContainerRoot(func() error {
		for _, file := range []string{"environ", "mem", "maps", "auxv", "fd/0", "exe"} {
			results[file] = tryRead(fmt.Sprintf("/proc/%d/%s", pid, file))
		}
		results["process_vm_readv"] = tryReadMemory(pid)
		results["ptrace"] = unix.PtraceSeize(pid) // ends with the thread
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// asContainerRoot calls f on a thread that has no more capabilities than Docker
// gives to a container, and so have the processes that f starts. The thread ends
// with it. For others than root it only calls f.
func asContainerRoot(f func() error) error {
	if os.Getuid() != 0 {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := dropCapabilities()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func dropCapabilities() error {
	const docker = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FSETID | 1<<unix.CAP_FOWNER |
		1<<unix.CAP_MKNOD | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID |
		1<<unix.CAP_SETFCAP | 1<<unix.CAP_SETPCAP | 1<<unix.CAP_NET_BIND_SERVICE |
		1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_KILL | 1<<unix.CAP_AUDIT_WRITE
	for c := range unix.CAP_LAST_CAP + 1 {
		if docker>>c&1 == 0 {
			// The kernel may not know the last ones.
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for _, set := range []*uint32{&data[0].Effective, &data[0].Permitted, &data[0].Inheritable} {
		*set &= docker & 0xffffffff
	}
	data[1] = unix.CapUserData{}
	return unix.Capset(&header, &data[0])
}

func tryRead(path string) error {
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink != 0 {
		_, err = os.Readlink(path)
		return err
	}
	f, err := os.Open(path)
	if err == nil {
		_ = f.Close()
	}
	return err
}

// tryReadMemory tells whether the memory of a process may be read. The first page is
// never there.
func tryReadMemory(pid int) error {
	to := make([]byte, 1)
	local := []unix.Iovec{{Base: &to[0], Len: 1}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 1, Len: 1}}, 0)
	if errors.Is(err, unix.EFAULT) {
		return nil
	}
	return err
}

func TestHideSecretsGoesOnWhereItCannot(t *testing.T) {
	tests := []struct {
		name, mode, env, warning string
		given                    bool
	}{
		{"file in memory refused", "no descriptors", "API_TOKEN=" + hideCanary, "create file in memory: too many open files", true},
		{"nothing to hide", "on", "HARMLESS=1", "", false},
		{"forged descriptor", "on", handoverName + "=0", "invalid argument", false},
		{"closed descriptor", "on", handoverName + "=77", "bad file descriptor", false},
		{"no descriptor", "on", handoverName + "=x", "invalid syntax", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := startHidden(t, tt.mode, tt.env)
			if !strings.Contains(r.Warning, tt.warning) || tt.warning == "" && r.Warning != "" {
				t.Errorf("warning %q, want %q", r.Warning, tt.warning)
			}
			if strings.Contains(r.Warning, hideCanary) {
				t.Errorf("the warning tells the secret: %s", r.Warning)
			}
			if r.Given != tt.given || r.Dumpable != 0 {
				t.Errorf("secret given: %t, dumpable: %d; want %t and 0", r.Given, r.Dumpable, tt.given)
			}
		})
	}
}

func TestSplitSecretsKeepsEverything(t *testing.T) {
	environ := append(canaries(), "PATH=/bin", "HF_TOKEN=t", "COMFY_ENV_STRICT=false")
	public, secrets := splitSecrets(environ)
	if len(public)+len(secrets) != len(environ) {
		t.Errorf("%d and %d of %d variables", len(public), len(secrets), len(environ))
	}
	if strings.Contains(strings.Join(public, "\n"), "AWS_SECRET") {
		t.Errorf("a copy of a secret is public: %q", public)
	}
	public, _ = splitSecrets([]string{"COMFY_ENV_STRICT=1", "HF_TOKEN=t", "PATH=/bin"})
	if len(public) != 2 {
		t.Errorf("strict: %q is public, want what does not look secret", public)
	}
}

func BenchmarkHideSecrets(b *testing.B) {
	for _, mode := range []string{"off", "on"} {
		b.Run(mode, func(b *testing.B) {
			for b.Loop() {
				cmd := exec.Command(os.Args[0], "-test.run=^TestHideSecretsProgram$", "-test.count=1")
				cmd.Env = []string{hideMode + "=" + mode, "API_TOKEN=" + hideCanary}
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
