package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/shlex"
)

// comfyArgv returns the command that starts ComfyUI, executable first:
// COMFY_COMMAND, those of the standard flags that the user did not give, and
// COMFY_EXTRA_ARGS.
func comfyArgv(cfg Config) ([]string, error) {
	command, err := words("COMFY_COMMAND", cfg.Comfy.Command, cfg.Comfy.Home)
	if err != nil {
		return nil, err
	}
	if len(command) == 0 {
		return nil, fmt.Errorf("COMFY_COMMAND: holds no command")
	}
	extra, err := words("COMFY_EXTRA_ARGS", cfg.Comfy.ExtraArgs, cfg.Comfy.Home)
	if err != nil {
		return nil, err
	}
	argv := slices.Clone(command)
	for _, flag := range standardFlags(cfg) {
		if !hasFlag(command, flag[0]) && !hasFlag(extra, flag[0]) {
			argv = append(argv, flag...)
		}
	}
	return append(argv, extra...), nil
}

// comfyUpload is the largest upload in MB that ComfyUI takes by itself. Its
// megabytes are larger than ours, which leaves room for what an upload has around
// the file.
const comfyUpload = 100

// standardFlags returns the flags that ComfyUI is given, each with its value.
// Every release since 0.3.40 knows them.
func standardFlags(cfg Config) [][]string {
	flags := [][]string{
		{"--disable-auto-launch"},
		{"--disable-metadata"},
		{"--verbose", cfg.Comfy.LogLevel},
		{"--log-stdout"},
		{"--port", strconv.Itoa(cfg.Comfy.Port)},
		{"--max-upload-size", strconv.Itoa(max(comfyUpload, cfg.Jobs.MaxDownload))},
	}
	if cfg.General.Local {
		flags = append(flags, []string{"--listen"})
	}
	if cfg.Jobs.Previews || cfg.General.Local { // the console shows them
		flags = append(flags, []string{"--preview-method", "auto"})
	}
	if cfg.Comfy.OutputDir != "" {
		flags = append(flags, []string{"--output-directory", cfg.Comfy.OutputDir})
	}
	if cfg.Comfy.ModelPath != "" {
		flags = append(flags, []string{"--extra-model-paths-config", cfg.Comfy.ModelPath})
	}
	if cfg.Comfy.CPU {
		flags = append(flags, []string{"--cpu"})
	}
	return flags
}

// withFlags appends to argv those flags that the user did not give.
func withFlags(argv []string, flags [][]string) []string {
	for _, flag := range flags {
		if !hasFlag(argv, flag[0]) {
			argv = append(argv, flag...)
		}
	}
	return argv
}

// words splits a variable as a shell would and fills in $COMFY_HOME, the one
// name that is known without a shell.
func words(name, text, home string) ([]string, error) {
	split, err := shlex.Split(text)
	if err != nil {
		return nil, fmt.Errorf("%s: split into words: %w", name, err)
	}
	fill := strings.NewReplacer("${COMFY_HOME}", home, "$COMFY_HOME", home)
	for i, w := range split {
		split[i] = fill.Replace(w)
	}
	return split, nil
}

func hasFlag(args []string, flag string) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		return a == flag || strings.HasPrefix(a, flag+"=")
	})
}

// flagValue returns the value that the last such flag has, "" if it has none or
// there is no such flag.
func flagValue(args []string, flag string) (value string) {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, flag+"="); ok {
			value = v
		} else if a == flag {
			value = strings.Join(args[i+1:min(i+2, len(args))], "")
		}
	}
	return value
}

// outputDir returns the directory into which a ComfyUI that is started by argv
// saves its outputs.
func outputDir(cfg Config, argv []string) string {
	return directory(cfg, argv, "--output-directory", "output")
}

// inputDir returns the directory in which a ComfyUI that is started by argv
// keeps its inputs.
func inputDir(cfg Config, argv []string) string {
	return directory(cfg, argv, "--input-directory", "input")
}

func directory(cfg Config, argv []string, flag, name string) string {
	if dir := flagValue(argv, flag); dir != "" {
		return dir
	}
	return filepath.Join(baseDir(cfg, argv), name)
}

// baseDir is where a ComfyUI that is started by argv has its directories.
func baseDir(cfg Config, argv []string) string {
	if base := flagValue(argv, "--base-directory"); base != "" {
		return base
	}
	return cfg.Comfy.Home
}

// gpuWanted tells whether a start by argv is refused without a GPU.
func gpuWanted(cfg Config, argv []string) bool {
	switch cfg.Comfy.GPUCheck {
	case "off":
		return false
	case "required":
		return true
	}
	return !hasFlag(argv, "--cpu")
}
