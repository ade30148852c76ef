package supervisor

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A memoryGroup is the memory cgroup of this program and its children, in
// either version of the kernel's interface. One without a dir could not be
// found: it answers that nothing is known.
type memoryGroup struct {
	dir string

	events, limit, peak, usage string // names of its files
}

// newMemoryGroup looks for it under root. A container sees its own cgroup
// either below the path that /proc/self/cgroup tells or at the top.
func newMemoryGroup(root string) memoryGroup {
	paths := cgroupPaths(root)
	for _, g := range []memoryGroup{
		{filepath.Join(root, "sys/fs/cgroup/memory", paths["memory"]), "memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes"},
		{filepath.Join(root, "sys/fs/cgroup/memory"), "memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes"},
		{filepath.Join(root, "sys/fs/cgroup", paths[""]), "memory.events", "memory.max", "memory.peak", "memory.current"},
		{filepath.Join(root, "sys/fs/cgroup"), "memory.events", "memory.max", "memory.peak", "memory.current"},
	} {
		if _, known := g.read(g.events); known {
			return g
		}
	}
	return memoryGroup{}
}

// cgroupPaths reads /proc/self/cgroup: the path by controller, and under ""
// that of version 2.
func cgroupPaths(root string) map[string]string {
	content, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup")) // not everywhere
	return parseCgroups(string(content))
}

func parseCgroups(content string) map[string]string {
	paths := make(map[string]string)
	for line := range strings.Lines(content) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			paths[controller] = fields[2]
		}
	}
	return paths
}

// kills is how many processes of the group the out-of-memory killer has taken,
// -1 if that is not known.
func (g memoryGroup) kills() int64 {
	content, ok := g.read(g.events)
	if !ok {
		return -1
	}
	return counter(content, "oom_kill")
}

// counter finds a number in a file of lines "name number", -1 if it is not there.
func counter(content, name string) int64 {
	for line := range strings.Lines(content) {
		if found, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && found == name {
			if n, err := strconv.ParseUint(value, 10, 63); err == nil {
				return int64(n)
			}
		}
	}
	return -1
}

// Memory tells how many bytes the memory cgroup of this program and its
// processes may use, 0 if there is no limit, and how many it cannot do without:
// what it uses but for the files that the kernel keeps only because there is
// room. Root is the directory that holds proc and sys.
func Memory(root string) (used, limit uint64) {
	g := newMemoryGroup(root)
	used, limit = g.bytes(g.usage), g.bytes(g.limit)
	stat, _ := g.read("memory.stat")
	for _, name := range []string{"active_file", "inactive_file"} {
		cached := counter(stat, "total_"+name) // version 1, where the bare names are without what is below
		if cached < 0 {
			cached = counter(stat, name)
		}
		used -= min(used, uint64(max(cached, 0)))
	}
	return used, limit
}

// blame tells whether the killer has struck since there were so many kills;
// maybe says that it cannot be told.
func (g memoryGroup) blame(before int64) (oom *OOM, maybe bool) {
	now := g.kills()
	switch {
	case now < 0 || before < 0:
		return nil, true
	case now <= before:
		return nil, false
	default:
		return &OOM{Limit: g.bytes(g.limit), Peak: g.bytes(g.peak)}, false
	}
}

// bytes reads a number, 0 if there is none or it means that there is no limit.
func (g memoryGroup) bytes(name string) uint64 {
	content, _ := g.read(name)
	n, err := strconv.ParseUint(strings.TrimSpace(content), 10, 64)
	if err != nil || n > math.MaxInt64-1<<20 { // version 1 writes the largest page-aligned number
		return 0
	}
	return n
}

func (g memoryGroup) read(name string) (content string, ok bool) {
	if g.dir == "" {
		return "", false
	}
	b, err := os.ReadFile(filepath.Join(g.dir, name))
	return string(b), err == nil
}
