package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// handoverName is the variable that tells a program that has replaced itself in
// which file descriptor its secrets are.
const handoverName = "COMFYVISOR_SECRETS_FD"

// sealed is what nobody can do any more to the file with the secrets.
const sealed = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// hideSecrets keeps our secrets from where code inside ComfyUI could read them
// without being given them: /proc/1/environ, /proc/1/mem and core dumps. It must
// come before anything else in main, for it may not return: the kernel shows
// the environment with which a program was started for as long as it lives, so
// the program is replaced by itself, once, with the secrets in a sealed file in
// memory. That takes about 3 ms.
//
// It returns the whole environment with the secrets. os.Environ is without
// them, and programs that are started without an environment of their own do not
// inherit them. The warning tells what could not be done; the program can go
// on, and the secrets are then no safer than in any other container.
func hideSecrets() (environ []string, warning error) {
	environ = os.Environ()
	if fd, ok := os.LookupEnv(handoverName); ok {
		secrets, err := takeOver(fd)
		if err != nil {
			return environ, errors.Join(fmt.Errorf("take over secrets from descriptor %s: %w", fd, err), harden())
		}
		_ = os.Unsetenv(handoverName)
		// After a replacement the name in /proc is that of the link, exe.
		_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
		return append(os.Environ(), secrets...), harden()
	}
	public, secrets := splitSecrets(environ)
	if len(secrets) > 0 {
		if err := handOver(public, secrets); err != nil {
			warning = fmt.Errorf("replace the program to clear its environment of secrets: %w; code inside ComfyUI may be able to read them in /proc", err)
		}
	}
	return environ, errors.Join(warning, harden())
}

// splitSecrets returns the variables that everybody may read and the others.
func splitSecrets(environ []string) (public, secrets []string) {
	cfg, _ := configFromEnv(environ)
	filter := newChildFilter(environ, cfg.Comfy.EnvStrict)
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		if filter.hides(name, value) {
			secrets = append(secrets, s)
		} else {
			public = append(public, s)
		}
	}
	return public, secrets
}

// handOver replaces the program by itself. It returns only if it cannot.
func handOver(public, secrets []string) error {
	f, err := seal(strings.Join(secrets, "\x00"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	public = append(slices.Clone(public), fmt.Sprintf("%s=%d", handoverName, f.Fd()))
	if err := syscall.Exec("/proc/self/exe", os.Args, public); err != nil {
		return fmt.Errorf("exec /proc/self/exe: %w", err)
	}
	return nil
}

// seal returns a file in memory that holds content for good, and that stays open
// over exec.
func seal(content string) (*os.File, error) {
	fd, err := unix.MemfdCreate("secrets", unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "secrets")
	if _, err := io.WriteString(f, content); err != nil {
		return nil, fmt.Errorf("write file in memory: %w", errors.Join(err, f.Close()))
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealed); err != nil {
		return nil, fmt.Errorf("seal file in memory: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// takeOver reads the secrets that handOver left, and closes their file. A
// descriptor that is not sealed is not one of handOver's.
func takeOver(number string) ([]string, error) {
	fd, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return nil, err
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	if seals&sealed != sealed {
		return nil, errors.New("it is not sealed")
	}
	f := os.NewFile(uintptr(fd), "secrets")
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return nil, err
	}
	var secrets []string
	for s := range bytes.SplitSeq(content, []byte{0}) {
		secrets = append(secrets, string(s))
	}
	return secrets, nil
}

// harden keeps other processes from reading our memory, unless they have
// CAP_SYS_PTRACE, and the kernel from writing it to a core file.
func harden() error {
	var faults []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		faults = append(faults, fmt.Errorf("forbid reading our memory: %w", err))
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		faults = append(faults, fmt.Errorf("forbid core dumps: %w", err))
	}
	return errors.Join(faults...)
}
