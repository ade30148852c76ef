package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// noGroup stands for no process group.
const noGroup = -1

// clearEvery is the time between two looks at what is left. Most of it are not
// our children, whose end the kernel would tell.
const clearEvery = 2 * time.Millisecond

// clear kills what is left of a process that has been waited for, again and
// again until nothing is left, as it may fork meanwhile. If ctx ends before,
// the error wraps ErrUnkillable.
func (r *Reaper) clear(ctx context.Context, group int, mark string) error {
	tick := time.NewTicker(clearEvery)
	defer tick.Stop()
	for {
		left := r.killLeft(group, mark)
		if len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("process %d, left behind by the last one, %w: restart the pod", left[0].pid, ErrUnkillable)
		}
	}
}

// killLeft sends SIGKILL to what is left of a process, and returns that. An orphan
// that is just replacing its program is among it and is spared: whose it is shows
// only when that is done.
func (r *Reaper) killLeft(group int, mark string) []procEntry {
	if group != noGroup {
		_ = unix.Kill(-group, unix.SIGKILL) // ESRCH: nothing is left of it
	}
	r.sweep()
	// While the lock is held no orphan is collected, and so no pid of theirs
	// can have become another process's.
	r.mu.Lock()
	defer r.mu.Unlock()
	var unsure []procEntry
	left := r.left(processTable(), group, func(pid int) bool {
		is, sure := stranger(pid, mark)
		if !sure {
			unsure = append(unsure, procEntry{pid: pid})
		}
		return is
	})
	for _, p := range left {
		_ = unix.Kill(p.pid, unix.SIGKILL) // ESRCH: it has ended by itself
	}
	return append(left, unsure...)
}

// left returns those processes of the table that belong to a process which has
// ended: the members of its group, and the orphans that are neither ours nor
// strangers, with their descendants. It had no session of its own, as the
// leader of a group cannot begin one.
func (r *Reaper) left(table []procEntry, group int, stranger func(pid int) bool) []procEntry {
	root := func(p procEntry) bool {
		return p.group == group || p.parent == r.self && p.alive() && !stranger(p.pid)
	}
	own := func(p procEntry) bool { return p.pid == r.self || r.own[p.pid] != nil }
	var alive []procEntry
	for _, p := range descendants(table, root, own) {
		if p.alive() {
			alive = append(alive, p)
		}
	}
	return alive
}

// stranger tells whether an orphan comes from elsewhere: another instance, or
// somebody's shell in this container. Those have an environment without our
// mark. One that emptied its environment, or hides it, has no such excuse. What
// replaces its program has none to show for a moment: it counts as a stranger for
// that long, and the answer is not sure.
func stranger(pid int, mark string) (is, sure bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	environ, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil {
		return false, true
	}
	if len(environ) == 0 {
		emptied := hasEmptyEnvironment(readStat(filepath.Join(dir, "stat"), make([]byte, 1<<10)))
		return !emptied, emptied
	}
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if string(variable) == mark {
			return false, true
		}
	}
	return true, true
}

// hasEmptyEnvironment tells from a line of /proc/PID/stat whether the environment of
// the process is there, and nothing in it. The kernel notes where the code of a new
// program ends after it has put the environment into its place.
func hasEmptyEnvironment(line []byte) bool {
	const codeEnd, envStart, envEnd = 24, 47, 48 // the 27th, 50th and 51st field of all, counted from the state
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	return len(fields) > envEnd && string(fields[codeEnd]) != "0" && bytes.Equal(fields[envStart], fields[envEnd])
}
