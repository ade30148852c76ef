package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/supervisor"
)

// sshSteady is how long an SSH server has to run to count as started.
const sshSteady = time.Second

// An sshServer lets people with a key into the container. Whatever becomes of it
// costs no job.
type sshServer struct {
	keys    string // "" is nobody
	path    string // of the program, which wants it to be absolute
	port    int
	paths   string // PATH of a session
	reaper  *supervisor.Reaper
	process *supervisor.Supervisor
	log     *zap.Logger
}

func newSSH(cfg Config, environ []string, reaper *supervisor.Reaper, log *zap.Logger) *sshServer {
	s := &sshServer{keys: cfg.General.PublicKey, port: cfg.General.SSHPort, paths: lookup(environ, "PATH"), reaper: reaper, log: log}
	if s.keys != "" {
		s.path = findSSH("/")
	}
	return s
}

// findSSH returns the path of the SSH server, "" if there is none.
func findSSH(root string) string {
	for _, dir := range []string{"usr/sbin", "usr/local/sbin", "usr/bin", "sbin"} {
		path := filepath.Join(root, dir, "sshd")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// run keeps the server running until ctx ends. Where it cannot, it warns and
// waits.
func (s *sshServer) run(ctx context.Context) error {
	if s.keys != "" {
		if err := s.serve(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("PUBLIC_KEY is set, but nobody can log in; jobs are not affected", zap.Error(err))
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *sshServer) serve(ctx context.Context) error {
	switch {
	case s.path == "":
		return errors.New("there is no sshd in the image: install openssh-server")
	case os.Getuid() != 0:
		return errors.New("an SSH server needs to be root, and this container is not")
	}
	file, err := allowKeys(s.keys)
	if err != nil {
		return err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // it refuses to start without
		return err
	}
	if _, err := s.reaper.Output(ctx, "ssh-keygen", "-A"); err != nil { // makes the host keys that are missing
		return err
	}
	s.process = supervisor.New(supervisor.Config{
		Name: "sshd", Path: s.path, Args: sshArgs(s.port, file, s.paths), Env: []string{"PATH=" + s.paths}, Dir: "/",
		Port: s.port, Grace: time.Second, Watch: s.watch,
		Lines: func(l supervisor.Line) { s.log.Info(l.Text) },
	}, s.reaper, s.log)
	return s.process.Run(ctx)
}

// watch tells the supervisor that the server has come up, so that it is started
// again for ever should it die.
func (s *sshServer) watch(ctx context.Context) error {
	select {
	case <-time.After(sshSteady):
		s.process.Ready()
	case <-ctx.Done():
	}
	return nil
}

// sshArgs are the flags of a server that stays in the foreground, logs to stderr
// and takes keys alone. A session gets our PATH, in which ComfyUI's Python is.
func sshArgs(port int, keys, paths string) []string {
	args := []string{
		"-D", "-e", "-p", strconv.Itoa(port),
		"-o", "AuthorizedKeysFile=" + keys,
		"-o", "PermitRootLogin=prohibit-password", "-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no",
		"-o", "PidFile=none", "-o", "LogLevel=ERROR",
	}
	if paths != "" && !strings.ContainsAny(paths, " \t\"'#") {
		args = append(args, "-o", "SetEnv=PATH="+paths)
	}
	return args
}

// allowKeys adds the keys to those that may log in as root, and returns the file
// that holds them.
func allowKeys(keys string) (file string, err error) {
	root, err := user.LookupId("0")
	if err != nil {
		return "", fmt.Errorf("find root's home: %w", err)
	}
	dir := filepath.Join(root.HomeDir, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file = filepath.Join(dir, "authorized_keys")
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.WriteFile(file, []byte(withKeys(string(old), keys)), 0o600); err != nil {
		return "", err
	}
	return file, errors.Join(os.Chmod(dir, 0o700), os.Chmod(file, 0o600)) // they may have been there, open to others
}

// withKeys returns the text of a file of keys with those added that it lacks.
func withKeys(text, keys string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	has := make(map[string]bool)
	for line := range strings.Lines(text) {
		has[strings.TrimSpace(line)] = true
	}
	for line := range strings.Lines(keys) {
		if key := strings.TrimSpace(line); key != "" && !has[key] {
			has[key] = true
			text += key + "\n"
		}
	}
	return text
}
