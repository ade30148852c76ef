package supervisor

import (
	"strings"
	"testing"
)

// The path of a memory cgroup is one of those that the file tells, and what is
// counted is never less than unknown.
func FuzzCgroup(f *testing.F) {
	f.Add("0::/docker/x\n", "low 0\noom_kill 4\n")
	f.Add("4:memory:/docker/x\n1:cpu,cpuacct:/\n0::/\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 18446744073709551615\n")
	f.Add("::\n:,:a:b\n", "oom_kill\noom_kill \noom_kill -5\n\x00")
	f.Fuzz(func(t *testing.T, cgroup, events string) {
		for controller, path := range parseCgroups(cgroup) {
			if !strings.Contains(cgroup, controller) || !strings.Contains(cgroup, ":"+path) {
				t.Errorf("%q has the path %q of %q", cgroup, path, controller)
			}
		}
		if n := counter(events, "oom_kill"); n < -1 || n >= 0 && !strings.Contains(events, "oom_kill ") {
			t.Errorf("%q counts %d", events, n)
		}
	})
}

// Whatever the kernel answers or shows, a listener that is found is on the port.
func FuzzListeners(f *testing.F) {
	f.Add([]byte("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"+
		"   0: 0100007F:1FFC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0\n"), 8188)
	f.Add([]byte("0: 00000000 0 0A 1 2 3 4 5 6 7\n0 0A \n"), 0)
	f.Add(make([]byte, answerSize), 0)
	f.Fuzz(func(t *testing.T, text []byte, port int) {
		for _, socket := range listenersIn(text, port) {
			if !strings.HasPrefix(socket, "socket:[") || port < 0 || port > 65535 {
				t.Errorf("port %d: found %q", port, socket)
			}
		}
		if _, ok := listenerOf(text, port); ok && (len(text) < answerSize || port < 0 || port > 65535) {
			t.Errorf("port %d: found one in %q", port, text)
		}
	})
}
