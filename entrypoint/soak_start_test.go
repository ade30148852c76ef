package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// A soakPodKind is how one of the pods of a soak is set up.
type soakPodKind struct {
	name, version string
	bucket        bool // files go to S3
	disk          bool // ComfyUI's outputs have a small filesystem of their own
	memory        bool // the pod has a memory limit
}

// soakKindOf gives every other pod a bucket, and both generations of ComfyUI to
// either sort. Some have a small disk, and some little memory, where that can be
// arranged.
func soakKindOf(pod int) soakPodKind {
	version := []string{comfytest.V0364, comfytest.V0330}[(pod+pod/2)%2]
	k := soakPodKind{name: fmt.Sprintf("%d-%s", pod, version), version: version, bucket: pod%2 == 1}
	root := os.Geteuid() == 0
	k.disk = root && (pod%8 == 2 || pod%8 == 7)
	k.memory = root && (pod%8 == 0 || pod%8 == 5) && soakHasMemoryGroups()
	if k.bucket {
		k.name += "-bucket"
	}
	return k
}

// soakLease is how long the queue waits for a pod that is silent. The longest
// outage is shorter.
const soakLease = 6 * time.Second

const (
	// soakDisk is the size of a small disk, and soakDiskFree what a job wants of it.
	soakDisk     = "24m"
	soakDiskFree = "4"
	// soakMemory is the limit of a pod with little memory, which the jobs that eat it
	// up exceed by far.
	soakMemory = 1 << 30
)

// intoSpace makes the process the first of a PID namespace that is visible in
// its own /proc.
const intoSpace = `mount --make-rprivate / && mount -t proc proc /proc && exec "$0"`

// intoSpace is the script that makes the process such a first one, of this kind.
func (k soakPodKind) intoSpace(group string) string {
	script := intoSpace
	if k.disk {
		script = strings.Replace(script, "exec", "mkdir -p output && mount -t tmpfs -o size="+soakDisk+" tmpfs output && exec", 1)
	}
	if group != "" {
		script = "echo 0 > " + group + "/cgroup.procs && " + script
	}
	return script
}

// needSpace skips the test where no such namespace can be made.
func needSpace(t *testing.T) {
	t.Helper()
	try := exec.Command("/bin/sh", "-c", intoSpace, "true")
	try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		try.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		try.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("no PID namespace with a /proc of its own can be made here: %v: %s", err, out)
	}
}

// startSoak starts a pod of a kind.
func startSoak(t *testing.T, k soakPodKind) *soak {
	t.Helper()
	needSpace(t)
	s := &soak{t: t, kind: k, pods: 1, records: make(map[string]soakRecord), twice: make(map[string]int), script: filepath.Join(t.TempDir(), "script.json"), counts: newSoakCounts(k.name)}
	s.q = runpodtest.NewServer(t, runpodtest.Config{
		APIKey: soakKey, Hold: 10 * time.Second, HoldStop: 10 * time.Second,
		Lease: soakLease, PingInterval: time.Second, Result: s.accept,
	})
	s.play(nil)
	s.binary = *soakBinary
	if s.binary == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		s.binary = self
	}
	group := ""
	if k.memory {
		group = soakMemoryGroup(t)
	}
	s.program = start(t, options{pid1: true, binary: "/bin/sh", args: []string{"-c", k.intoSpace(group), s.binary}, env: s.environment()})
	t.Cleanup(func() { s.shorten(200) })
	s.waitReady()
	s.lookAround()
	return s
}

// environment is that of the pods.
func (s *soak) environment() map[string]string {
	s.queueLink = newSoakLink(s.t, strings.TrimPrefix(s.q.URL, "http://"))
	env := s.q.Queue.Env("http://" + s.queueLink.Listen)
	env = with(env, "SIMCOMFY_VERSION", s.kind.version, "SIMCOMFY_SCRIPT", s.script, "SIMCOMFY_TEARDOWN", "50ms",
		"RESTART_BACKOFF_MAX", "200ms", "RESTART_BOOT_FAILURES", "50", "LIVENESS_INTERVAL", "250ms", "LIVENESS_SILENCE", "20s",
		"WEBSOCKET_RECONNECT_DELAY_S", "1", "PROGRESS_INTERVAL", "100ms", "SIMCOMFY_LEDGER", filepath.Join(s.t.TempDir(), "ledger.jsonl"))
	for name, canary := range soakCanaries() {
		env[name] = canary
	}
	if s.kind.disk {
		env["MIN_FREE_MB"] = soakDiskFree
	}
	if s.kind.bucket {
		s.bucket = s3test.Start(s.t)
		s.link = newSoakLink(s.t, s.bucket.Addr)
		env = with(env, "BUCKET_ENDPOINT_URL", "http://"+s.link.Listen+"/"+s.bucket.Bucket,
			"BUCKET_ACCESS_KEY_ID", s.bucket.AccessKey, "BUCKET_SECRET_ACCESS_KEY", s.bucket.SecretKey)
	}
	return env
}

// soakMemoryGroups is where the kernel keeps its memory cgroups, of version 1.
const soakMemoryGroups = "/sys/fs/cgroup/memory"

func soakHasMemoryGroups() bool {
	_, err := os.Stat(soakMemoryGroups + "/memory.limit_in_bytes")
	return err == nil
}

// soakMemoryGroup makes a cgroup with little memory. It goes when the test ends.
func soakMemoryGroup(t *testing.T) string {
	t.Helper()
	group, err := os.MkdirTemp(soakMemoryGroups, "comfyvisor-soak-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeGroup(t, group) })
	err = errors.Join(err, os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), fmt.Append(nil, soakMemory), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return group
}
