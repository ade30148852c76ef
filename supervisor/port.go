package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// ErrPortBusy says that something else listens on the port of the process.
var ErrPortBusy = errors.New("port busy")

const (
	// portWait is how long a start waits for the port to become free.
	portWait = 2 * time.Second
	// portAgain is the time between two looks meanwhile.
	portAgain = 10 * time.Millisecond
)

// awaitPort returns when nothing listens on the port of the process, which has
// not been started yet, or when the wait is over or useless: then the error
// wraps ErrPortBusy.
func (l *loop) awaitPort() error {
	ctx, cancel := context.WithTimeout(l.ctx, portWait)
	defer cancel()
	tick := time.NewTicker(portAgain)
	defer tick.Stop()
	for {
		if l.cfg.Port == 0 || bindable(l.cfg.Port) {
			return nil
		}
		err := l.CheckPort()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		case <-l.cfg.Hurry:
			return err
		}
	}
}

// bindable tells whether nothing listens on a port of the loopback interface. It
// is the quick way to know, and tells nothing of who does.
func bindable(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// CheckPort returns an error that wraps ErrPortBusy, and names the holder, if
// something listens on the process's port that did not come of the process. What
// cannot be seen (no /proc, another user's files) counts as good.
func (s *Supervisor) CheckPort() error {
	if s.cfg.Port == 0 {
		return nil
	}
	sockets := listeners(s.cfg.Port)
	if len(sockets) == 0 {
		return nil
	}
	table := processTable()
	if pid := s.Status().PID; pid != 0 {
		member := func(p procEntry) bool { return p.group == pid }
		none := func(procEntry) bool { return false }
		for _, p := range descendants(table, member, none) {
			if held, err := holds(p.pid, sockets); held || errors.Is(err, os.ErrPermission) {
				return nil
			}
		}
	}
	holder := "a process that cannot be seen from here"
	if pid := eldest(table, func(pid int) bool { held, _ := holds(pid, sockets); return held }); pid != 0 {
		holder = fmt.Sprintf("process %d (%s)", pid, commandName(pid))
	}
	return fmt.Errorf("%w: %d is held by %s: stop that, or use another port", ErrPortBusy, s.cfg.Port, holder)
}

// eldest is the first process of the table that is a holder, or the furthest up of its
// parents that are holders too; 0 if there is none. Children share the sockets of a
// server, and whatever it starts does for a moment.
func eldest(table []procEntry, holder func(pid int) bool) int {
	first := slices.IndexFunc(table, func(p procEntry) bool { return holder(p.pid) })
	if first < 0 {
		return 0
	}
	p := table[first]
	for range table { // which is no picture of one moment, and may have a circle
		parent := slices.IndexFunc(table, func(other procEntry) bool { return other.pid == p.parent })
		if parent < 0 || !holder(p.parent) {
			break
		}
		p = table[parent]
	}
	return p.pid
}

// holds tells whether a process has one of the sockets open.
func holds(pid int, sockets []string) (bool, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	names, err := readNames(dir)
	for _, name := range names {
		if to, err := os.Readlink(filepath.Join(dir, name)); err == nil && slices.Contains(sockets, to) {
			return true, nil
		}
	}
	return false, err
}

// commandName is what the kernel calls a process. Its arguments may hold secrets.
func commandName(pid int) string {
	raw, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return printable(bytes.TrimSpace(raw))
}
