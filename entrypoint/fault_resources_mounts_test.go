package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mounts is the variable that tells a program with options.pid1 what to mount in
// its namespace before it becomes comfyvisor. It has one mount a line:
//
//	tmpfs DIR OPTIONS     a filesystem of its own
//	bind FILE TARGET      one file in place of another
//	only DIR              everything but DIR becomes read-only
//
// Paths are relative to the program's directory.
const mounts = "COMFYVISOR_TEST_MOUNTS"

func makeMounts(lines string) error {
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		var err error
		switch words[0] {
		case "tmpfs":
			if err = os.MkdirAll(words[1], 0o755); err == nil {
				err = unix.Mount("tmpfs", words[1], "tmpfs", 0, words[2])
			}
		case "bind":
			err = unix.Mount(words[1], words[2], "", unix.MS_BIND, "")
		case "only":
			err = writableOnly(words[1])
		default:
			err = unix.EINVAL
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

func writableOnly(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	all := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &all); err != nil {
		return err
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return err
	}
	return os.Chdir(dir) // into the new mount
}

// mounted starts comfyvisor as the first process of a namespace with these mounts.
func mounted(t *testing.T, lines string, env map[string]string) *program {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts in a namespace that the test can look into need root")
	}
	return start(t, options{env: with(env, mounts, lines), pid1: true})
}

// inside is where the test finds a file of a mounted program.
func (p *program) inside(name string) string {
	return filepath.Join("/proc", procNumber(p), "root", p.dir, name)
}

// put writes a file of so many bytes in a mounted program's directory.
func (p *program) put(name string, bytes int) {
	p.t.Helper()
	file := p.inside(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, bytes), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// procNumber is the name of a program's folder in /proc.
func procNumber(p *program) string { return strconv.Itoa(p.cmd.Process.Pid) }
