package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// ComfyUI is what the check of an installation looks at.
type ComfyUI struct {
	Home string   // where it lives
	Argv []string // the command that starts it
	Path string   // PATH, in which the command is looked for
}

var versionLine = regexp.MustCompile(`(?m)^__version__ *= *"([0-9A-Za-z.+-]{1,40})"`)

// Look finds the command and the program that it is to start. Nothing is run.
func (c ComfyUI) Look() Finding {
	const advice = "set COMFY_HOME to where ComfyUI is, or COMFY_COMMAND to how it is started"
	if info, err := os.Stat(c.Home); err != nil || !info.IsDir() {
		return Finding{Verdict: Fail, Text: fmt.Sprintf("COMFY_HOME=%s is no directory", c.Home), Advice: advice}
	}
	command, err := find(c.Argv[0], c.Path, c.Home)
	if err != nil {
		return Finding{Verdict: Fail, Text: fmt.Sprintf("the command %s of COMFY_COMMAND: %v", c.Argv[0], err), Advice: advice}
	}
	for _, arg := range c.Argv[1:] {
		if strings.HasPrefix(arg, "-") || !strings.HasSuffix(arg, ".py") {
			continue
		}
		if !filepath.IsAbs(arg) {
			arg = filepath.Join(c.Home, arg)
		}
		if _, err := os.Stat(arg); err != nil {
			return Finding{Verdict: Fail, Text: fmt.Sprintf("%s is not there", arg), Advice: advice}
		}
		break
	}
	version := "of unknown version"
	if raw, err := os.ReadFile(filepath.Join(c.Home, "comfyui_version.py")); err == nil {
		if m := versionLine.FindSubmatch(raw); m != nil {
			version = string(m[1])
		}
	}
	return Finding{Verdict: OK, Text: fmt.Sprintf("ComfyUI %s in %s, started by %s", version, c.Home, command)}
}

// find returns the path of a command as a start of it would.
func find(command, path, dir string) (string, error) {
	if strings.Contains(command, "/") {
		if !filepath.IsAbs(command) {
			command = filepath.Join(dir, command)
		}
		return command, executable(command)
	}
	for folder := range strings.SplitSeq(path, ":") {
		if file := filepath.Join(folder, command); folder != "" && executable(file) == nil {
			return file, nil
		}
	}
	return "", errors.New("not found in PATH")
}

func executable(file string) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return errors.New("not there")
	case info.IsDir() || info.Mode()&0o111 == 0:
		return errors.New("not executable")
	}
	return nil
}

// Port tells what listens on ComfyUI's port, by asking alive.
func Port(ctx context.Context, port int, alive func(context.Context) error) Finding {
	err := alive(ctx)
	switch {
	case err == nil:
		return Finding{Verdict: OK, Text: fmt.Sprintf("ComfyUI answers on port %d", port)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Finding{Verdict: OK, Text: fmt.Sprintf("port %d is free: ComfyUI is not running now", port)}
	}
	return Finding{Verdict: Warn, Text: fmt.Sprintf("something listens on port %d and does not answer as ComfyUI does: %v", port, err),
		Advice: "if ComfyUI is not just starting, stop what is there, or set another COMFY_PORT"}
}
