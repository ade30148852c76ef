package supervisor

import "testing"

// What the kernel keeps of files only because there is room is not in use.
func TestMemory(t *testing.T) {
	const gib = 1 << 30
	tests := []struct {
		name        string
		files       map[string]string
		used, limit uint64
	}{
		{"version 2", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": "oom_kill 0\n",
			"sys/fs/cgroup/memory.max": "8589934592\n", "sys/fs/cgroup/memory.current": "7516192768\n",
			"sys/fs/cgroup/memory.stat": "anon 1\nactive_file 1073741824\ninactive_file 2147483648\n",
		}, 4 * gib, 8 * gib},
		{"version 1", map[string]string{
			"proc/self/cgroup": "4:memory:/pod\n", "sys/fs/cgroup/memory/pod/memory.oom_control": "oom_kill 0\n",
			"sys/fs/cgroup/memory/pod/memory.limit_in_bytes": "8589934592\n", "sys/fs/cgroup/memory/pod/memory.usage_in_bytes": "7516192768\n",
			"sys/fs/cgroup/memory/pod/memory.stat": "active_file 0\ninactive_file 0\ntotal_active_file 1073741824\ntotal_inactive_file 2147483648\n",
		}, 4 * gib, 8 * gib},
		{"without a limit", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": "oom_kill 0\n",
			"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "1073741824\n",
		}, gib, 0},
		{"more files than use", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": "oom_kill 0\n",
			"sys/fs/cgroup/memory.max": "8589934592\n", "sys/fs/cgroup/memory.current": "1\n",
			"sys/fs/cgroup/memory.stat": "active_file 5\n",
		}, 0, 8 * gib},
		{"no cgroup", nil, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			used, limit := Memory(fakeRoot(t, tt.files))
			if used != tt.used || limit != tt.limit {
				t.Errorf("Memory() = %d of %d, want %d of %d", used, limit, tt.used, tt.limit)
			}
		})
	}
}
