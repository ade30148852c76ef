package supervisor

import (
	"encoding/binary"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
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
		// Not readable for us if the process has changed its user.
		if io, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "io")); err == nil {
			note(io)
		}
	}
	return sum.Sum64()
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
