package supervisor

import (
	"encoding/binary"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Activity returns a number that changes whenever the process or one of its
// descendants shows a sign of life: output, processor time, bytes read or
// written. It is no measure of anything. It reads the process table, so it is
// to be called every few seconds and not in a tight loop.
func (s *Supervisor) Activity() uint64 {
	sum := fnv.New64a()
	note := func(b []byte) { _, _ = sum.Write(b) } // a hash never fails
	note(binary.LittleEndian.AppendUint64(nil, s.output.Load()))
	pid := s.Status().PID
	if pid == 0 {
		return sum.Sum64()
	}
	for _, p := range family(pid) {
		note(binary.LittleEndian.AppendUint64(nil, uint64(p.pid)))
		note(binary.LittleEndian.AppendUint64(nil, p.ticks))
		note([]byte(readIO(p.pid)))
	}
	return sum.Sum64()
}

// Read returns how many megabytes the process and its descendants have read from
// files, sockets and disks. It goes down when one of them ends. Like Activity it
// reads the process table.
func (s *Supervisor) Read() uint64 {
	pid := s.Status().PID
	if pid == 0 {
		return 0
	}
	var sum uint64
	for _, p := range family(pid) {
		// Files mapped into memory are in read_bytes alone, those on a network volume
		// or in the page cache in rchar alone.
		for line := range strings.Lines(readIO(p.pid)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if name == "rchar" || name == "read_bytes" {
				n, _ := strconv.ParseUint(value, 10, 64) // the kernel writes numbers
				sum += n
			}
		}
	}
	return sum >> 20
}

// readIO is what the kernel has counted of a process, "" if it has changed its user
// and may not be read.
func readIO(pid int) string {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "io"))
	return string(b)
}

// Output returns how many bytes the processes have written so far, all
// incarnations together.
func (s *Supervisor) Output() uint64 { return s.output.Load() }

// Resident returns how many bytes of memory the process and its descendants have
// in use, 0 while there is none. What several of them share counts for each.
func (s *Supervisor) Resident() uint64 {
	pid := s.Status().PID
	if pid == 0 {
		return 0
	}
	var pages uint64
	for _, p := range family(pid) {
		pages += p.pages
	}
	return pages * uint64(os.Getpagesize())
}

// family is the group of a process with all descendants.
func family(group int) []procEntry {
	member := func(p procEntry) bool { return p.group == group }
	none := func(procEntry) bool { return false }
	return descendants(processTable(), member, none)
}
