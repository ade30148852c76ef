package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keepMode is the value of COMFY_MANAGER_MODE that leaves the Manager alone.
const keepMode = "keep"

// setManagerMode sets how much of the network ComfyUI-Manager uses, in its own
// configuration file, which it reads when ComfyUI starts. Where there is no
// Manager it does nothing.
func setManagerMode(cfg Config) error {
	argv, err := comfyArgv(cfg)
	if err != nil || cfg.Comfy.Manager == keepMode || !hasManager(cfg, argv) {
		return err
	}
	var errs []error
	for _, file := range managerFiles(cfg, argv) {
		if err := setMode(file, cfg.Comfy.Manager); err != nil {
			errs = append(errs, fmt.Errorf("set the network mode of ComfyUI-Manager: %w", err))
		}
	}
	return errors.Join(errs...)
}

// hasManager tells whether the Manager is there: as a custom node, or as the
// package that newer releases of ComfyUI load when they are told to.
func hasManager(cfg Config, argv []string) bool {
	if hasFlag(argv, "--enable-manager") {
		return true
	}
	nodes, _ := os.ReadDir(filepath.Join(baseDir(cfg, argv), "custom_nodes")) // none, if it cannot be read
	for _, node := range nodes {
		if strings.EqualFold(node.Name(), "ComfyUI-Manager") {
			return true
		}
	}
	return false
}

// managerFiles are the configuration files of the Manager: those that there are,
// or the one that it is going to look for. A ComfyUI that has directories for
// the system's use gives the Manager one of them.
func managerFiles(cfg Config, argv []string) (files []string) {
	user := directory(cfg, argv, "--user-directory", "user")
	older := filepath.Join(user, "default", "ComfyUI-Manager", "config.ini")
	newer := filepath.Join(user, "__manager", "config.ini")
	for _, file := range []string{older, newer} {
		if _, err := os.Stat(file); err == nil {
			files = append(files, file)
		}
	}
	if len(files) > 0 {
		return files
	}
	source, _ := os.ReadFile(filepath.Join(cfg.Comfy.Home, "folder_paths.py")) // an old one, if it cannot be read
	if hasFlag(argv, "--enable-manager") || bytes.Contains(source, []byte("get_system_user_directory")) {
		return []string{newer}
	}
	return []string{older}
}

func setMode(file, mode string) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := withSetting(string(old), "default", "network_mode", mode)
	if text == string(old) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// withSetting returns the text of an INI file with one setting in one section
// changed, or added to it. All else stays as it is.
func withSetting(text, section, name, value string) string {
	header, line := "["+section+"]", name+" = "+value
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if text == "" {
		lines = nil
	}
	at := -1 // of the section
	for i, l := range lines {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") {
			if at >= 0 {
				break
			}
			if l == header {
				at = i
			}
			continue
		}
		key, _, _ := strings.Cut(strings.ReplaceAll(l, ":", "="), "=")
		if at >= 0 && strings.EqualFold(strings.TrimSpace(key), name) {
			lines[i] = line
			return strings.Join(lines, "\n") + "\n"
		}
	}
	if at < 0 {
		return strings.Join(append(lines, header, line), "\n") + "\n"
	}
	return strings.Join(slices.Insert(lines, at+1, line), "\n") + "\n"
}
