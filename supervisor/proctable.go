package supervisor

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// procEntry is one process as the kernel's table lists it.
type procEntry struct {
	pid, parent, group int

	state byte   // R, S, D, Z...
	ticks uint64 // of processor time
	pages uint64 // of memory in use
}

// alive tells whether it can still hold anything: a zombie cannot.
func (p procEntry) alive() bool { return p.state != 'Z' && p.state != 'X' }

// processTable reads the whole table. What ends meanwhile is left out.
func processTable() []procEntry {
	names, err := readNames("/proc")
	if err != nil {
		return nil
	}
	var table []procEntry
	buf := make([]byte, 1<<10) // more than any line
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		if p, ok := parseStat(readStat("/proc/"+name+"/stat", buf)); ok {
			table = append(table, p)
		}
	}
	return table
}

// readStat returns nothing if the process has ended. It does without os.ReadFile,
// whose further system calls would double the time of a restart.
func readStat(path string, buf []byte) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// parseStat reads a line of /proc/PID/stat. The second field is the command in
// parentheses and may hold anything, parentheses too.
func parseStat(line []byte) (procEntry, bool) {
	var p procEntry
	end := bytes.LastIndexByte(line, ')')
	name := bytes.IndexByte(line, ' ')
	if end < 0 || name < 0 {
		return p, false
	}
	fields := bytes.Fields(line[end+1:])
	if len(fields) < 22 {
		return p, false
	}
	number := func(b []byte) int {
		n, _ := strconv.Atoi(string(b))
		return n
	}
	p.pid, p.state = number(line[:name]), fields[0][0]
	p.parent, p.group = number(fields[1]), number(fields[2])
	p.ticks = uint64(number(fields[11]) + number(fields[12])) // user and system time
	p.pages = uint64(max(number(fields[21]), 0))
	return p, p.pid > 0
}

// descendants returns the processes of the table below those for which root
// tells true, and those themselves, but nothing at or below those for which
// skip tells true.
func descendants(table []procEntry, root, skip func(procEntry) bool) []procEntry {
	below := make(map[int][]procEntry, len(table))
	for _, p := range table {
		below[p.parent] = append(below[p.parent], p)
	}
	var found []procEntry
	seen := make(map[int]bool)
	var add func(procEntry)
	add = func(p procEntry) {
		if seen[p.pid] || skip(p) {
			return
		}
		seen[p.pid] = true
		found = append(found, p)
		for _, child := range below[p.pid] {
			add(child)
		}
	}
	for _, p := range table {
		if root(p) {
			add(p)
		}
	}
	return found
}
