package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeRoot makes a directory with the given files.
func fakeRoot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Whatever the kernel offers of the memory cgroup, a kill is told as well as it can be and never with an error.
func TestFault_Z9_EveryKindOfCgroup(t *testing.T) {
	const (
		v1    = "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"
		v1old = "oom_kill_disable 0\nunder_oom 0\n"
		v2    = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 4\noom_group_kill 0\n"
		limit = "8589934592\n"
	)
	tests := []struct {
		name   string
		files  map[string]string
		events string // the file whose counter goes from 4 to 5
		want   *OOM
		maybe  bool
	}{
		{name: "version 2 in a namespace", events: "sys/fs/cgroup/memory.events", want: &OOM{8 << 30, 7 << 30},
			files: map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": v2,
				"sys/fs/cgroup/memory.max": limit, "sys/fs/cgroup/memory.peak": "7516192768\n"}},
		{name: "version 2 without namespace", events: "sys/fs/cgroup/docker/x/memory.events", want: &OOM{8 << 30, 0},
			files: map[string]string{"proc/self/cgroup": "0::/docker/x\n", "sys/fs/cgroup/docker/x/memory.events": v2,
				"sys/fs/cgroup/docker/x/memory.max": limit}},
		{name: "version 2 without limit or peak", events: "sys/fs/cgroup/memory.events", want: &OOM{},
			files: map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": v2,
				"sys/fs/cgroup/memory.max": "max\n"}},
		{name: "version 1, bind-mounted", events: "sys/fs/cgroup/memory/memory.oom_control", want: &OOM{8 << 30, 7 << 30},
			files: map[string]string{"proc/self/cgroup": "4:memory:/docker/x\n1:cpu,cpuacct:/docker/x\n",
				"sys/fs/cgroup/memory/memory.oom_control": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
				"sys/fs/cgroup/memory/memory.max_usage_in_bytes": "7516192768\n"}},
		{name: "version 1 without limit", events: "sys/fs/cgroup/memory/docker/x/memory.oom_control", want: &OOM{},
			files: map[string]string{"proc/self/cgroup": "4:memory:/docker/x\n",
				"sys/fs/cgroup/memory/docker/x/memory.oom_control":    v1,
				"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n"}},
		{name: "hybrid", events: "sys/fs/cgroup/memory/memory.oom_control", want: &OOM{8 << 30, 0},
			files: map[string]string{"proc/self/cgroup": "4:memory:/\n0::/\n", "sys/fs/cgroup/unified/cgroup.procs": "",
				"sys/fs/cgroup/memory/memory.oom_control": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": limit}},
		{name: "version 1 before it counted", maybe: true,
			files: map[string]string{"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.oom_control": v1old}},
		{name: "no memory controller", maybe: true,
			files: map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.procs": ""}},
		{name: "nonsense", maybe: true,
			files: map[string]string{"proc/self/cgroup": "memory\n::\n", "sys/fs/cgroup/memory.events": "oom_kill many\n"}},
		{name: "nothing at all", maybe: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fakeRoot(t, tt.files)
			g := newMemoryGroup(root)
			before := g.kills()
			if oom, maybe := g.blame(before); oom != nil || maybe != tt.maybe {
				t.Errorf("without a kill: %+v, maybe %v", oom, maybe)
			}
			if tt.events != "" {
				path := filepath.Join(root, tt.events)
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				more := strings.ReplaceAll(string(content), "oom_kill 4", "oom_kill 5")
				if err := os.WriteFile(path, []byte(more), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			oom, maybe := g.blame(before)
			if diff := cmp.Diff(tt.want, oom); diff != "" || maybe != tt.maybe {
				t.Errorf("after a kill: maybe %v, want %v; (-want +got):\n%s", maybe, tt.maybe, diff)
			}
		})
	}
}

// Without counters a SIGKILL from outside is told with a maybe, and one of ours without.
func TestFault_Z9_KillWithoutCounters(t *testing.T) {
	r := rigUp(t, as(Config{Root: t.TempDir(), Grace: 1}, "ignore-term"))
	r.line("up")
	if exit := r.crashed(); !exit.MaybeOOM || !strings.Contains(exit.Error(), "maybe out of memory") {
		t.Errorf("exit = %v, want maybe out of memory", exit)
	}
	for receive(t, r.lines, "line").Incarnation != 2 {
	}
	r.Restart("asked")
	if exit := r.until(StateBackoff).Exit; exit.Signal != unix.SIGKILL || exit.MaybeOOM {
		t.Errorf("exit = %#v, want killed by us", exit)
	}
}

// The kernel's out-of-memory killer takes the process and not the supervisor, and is named with limit and peak.
func TestFault_C1_KilledByTheOutOfMemoryKiller(t *testing.T) {
	dir := cgroup(t, "memory", map[string]string{"memory.limit_in_bytes": "209715200"})
	out, err := reexec(t, "oom-nest "+dir)
	if err != nil {
		t.Fatalf("the supervisor died: %v\n%s", err, out)
	}
	want := "exit killed by SIGKILL (out of memory: limit 200.0 MiB, peak "
	if !strings.HasPrefix(out, want) || !strings.Contains(out, "end context canceled") {
		t.Errorf("output\n%s, want\n%s", out, want)
	}
}

// Of the process and its supervisor the kernel is told to take the process first.
func TestFault_C1_ProcessIsTheFirstToGo(t *testing.T) {
	r := rigUp(t, sh(Config{OOMScoreAdj: 500}, "echo up; exec sleep 1000"))
	r.line("up")
	score, err := os.ReadFile(filepath.Join("/proc", procName(r.current()), "oom_score_adj"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	if got, inherited := number(t, score), number(t, own); got != min(inherited+500, 1000) {
		t.Errorf("oom_score_adj = %d, want 500 more than ours (%d)", got, inherited)
	}
}

// A descendant that forks until there is no room ends neither the supervisor nor the restarts.
func TestFault_Z5_ForkBomb(t *testing.T) {
	dir := cgroup(t, "pids", map[string]string{"pids.max": "60"})
	out, err := reexec(t, "pids-nest "+dir)
	if err != nil {
		t.Fatalf("the supervisor died: %v\n%s", err, out)
	}
	for _, want := range []string{"running 1 ", "backoff 3 ", "end context canceled"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the output:\n%s", want, out)
		}
	}
}

// With threads made before, the program survives when no more can be made.
func TestFault_Z5_PrewarmedThreads(t *testing.T) {
	dir := cgroup(t, "pids", nil)
	out, err := reexec(t, "threads 40 "+dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "survived, fork says true") {
		t.Errorf("output:\n%s", out)
	}
}

// The twin of Z5: without them the Go runtime ends the program.
func TestFault_Z5_TwinWithoutThreadsDies(t *testing.T) {
	dir := cgroup(t, "pids", nil)
	out, err := reexec(t, "threads 0 "+dir)
	// With the race detector it is the C library that makes threads.
	died := strings.Contains(out, "newosproc") || strings.Contains(out, "pthread_create failed")
	if err == nil || !died {
		t.Errorf("end %v, want the runtime to give up:\n%s", err, out)
	}
}
