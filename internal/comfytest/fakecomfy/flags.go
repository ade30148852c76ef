package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A flag is one of ComfyUI's command line flags.
type flag struct {
	name  string
	arity string // "" none, "1" one, "?" perhaps one, "+" some, "*" any number
	kind  string // of the values: int, float, dir, or text
	group string // flags of a group exclude each other
}

// flags are those that every version from 0.3.64 on knows, and the newer ones
// for a version that has them.
func flags(version string) []flag {
	known := []flag{
		{name: "--help"}, {name: "-h"},
		{name: "--listen", arity: "?"}, {name: "--port", arity: "1", kind: "int"},
		{name: "--tls-keyfile", arity: "1"}, {name: "--tls-certfile", arity: "1"},
		{name: "--enable-cors-header", arity: "?"}, {name: "--max-upload-size", arity: "1", kind: "float"},
		{name: "--base-directory", arity: "1"}, {name: "--extra-model-paths-config", arity: "+"},
		{name: "--output-directory", arity: "1"}, {name: "--temp-directory", arity: "1"}, {name: "--input-directory", arity: "1"},
		{name: "--user-directory", arity: "1", kind: "dir"}, {name: "--front-end-root", arity: "1", kind: "dir"}, {name: "--front-end-version", arity: "1"},
		{name: "--auto-launch"}, {name: "--disable-auto-launch"}, {name: "--cuda-device", arity: "1"}, {name: "--default-device", arity: "1"},
		{name: "--cuda-malloc", group: "malloc"}, {name: "--disable-cuda-malloc", group: "malloc"},
		{name: "--force-fp32", group: "fp"}, {name: "--force-fp16", group: "fp"},
		{name: "--bf16-unet", group: "unet"}, {name: "--fp16-unet", group: "unet"}, {name: "--fp8_e4m3fn-unet", group: "unet"}, {name: "--fp32-unet", group: "unet"},
		{name: "--fp16-vae", group: "vae"}, {name: "--fp32-vae", group: "vae"}, {name: "--bf16-vae", group: "vae"}, {name: "--cpu-vae"},
		{name: "--fp8_e4m3fn-text-enc", group: "enc"}, {name: "--fp16-text-enc", group: "enc"}, {name: "--force-channels-last"},
		{name: "--preview-method", arity: "1"}, {name: "--preview-size", arity: "1", kind: "int"},
		{name: "--cache-classic", group: "cache"}, {name: "--cache-lru", arity: "1", kind: "int", group: "cache"}, {name: "--cache-none", group: "cache"},
		{name: "--use-split-cross-attention", group: "attention"}, {name: "--use-quad-cross-attention", group: "attention"},
		{name: "--use-pytorch-cross-attention", group: "attention"}, {name: "--use-sage-attention", group: "attention"}, {name: "--use-flash-attention", group: "attention"},
		{name: "--disable-xformers"}, {name: "--gpu-only", group: "vram"}, {name: "--highvram", group: "vram"}, {name: "--lowvram", group: "vram"},
		{name: "--novram", group: "vram"}, {name: "--cpu", group: "vram"}, {name: "--reserve-vram", arity: "1", kind: "float"},
		{name: "--async-offload"}, {name: "--disable-smart-memory"}, {name: "--deterministic"}, {name: "--fast", arity: "*"},
		{name: "--dont-print-server"}, {name: "--quick-test-for-ci"}, {name: "--windows-standalone-build"}, {name: "--disable-metadata"},
		{name: "--disable-all-custom-nodes"}, {name: "--whitelist-custom-nodes", arity: "+"}, {name: "--disable-api-nodes"}, {name: "--multi-user"},
		{name: "--verbose", arity: "?"}, {name: "--log-stdout"}, {name: "--enable-compress-response-body"},
		{name: "--comfy-api-base", arity: "1"}, {name: "--database-url", arity: "1"},
	}
	if !newer(version) {
		return append(known, flag{name: "--normalvram", group: "vram"})
	}
	known[slices.IndexFunc(known, func(f flag) bool { return f.name == "--verbose" })].arity = "*"
	known[slices.IndexFunc(known, func(f flag) bool { return f.name == "--async-offload" })].arity = "?"
	return append(known,
		flag{name: "--cache-ram", arity: "*", kind: "float", group: "cache"}, flag{name: "--high-ram", group: "cache"},
		flag{name: "--enable-manager"}, flag{name: "--enable-assets"}, flag{name: "--disable-dynamic-vram"}, flag{name: "--enable-dynamic-vram"},
		flag{name: "--vram-headroom", arity: "1", kind: "float"}, flag{name: "--fast-disk"}, flag{name: "--disable-pinned-memory"},
		flag{name: "--models-directory", arity: "1", kind: "dir"}, flag{name: "--debug-hang"}, flag{name: "--feature-flag", arity: "+"}, flag{name: "--list-feature-flags"})
}

// newer tells the generation of the coloured logs from the older one.
func newer(version string) bool {
	return strings.HasPrefix(comfytest.LogLines(version, "INFO", "")[0], "\x1b")
}

// A usageError is what argparse ends the program with: code 2.
type usageError string

func (e usageError) Error() string { return string(e) }

// parseFlags reads a command line as argparse would. The values of a flag
// that was given without any are an empty list.
func parseFlags(version string, args []string) (map[string][]string, error) {
	known := flags(version)
	given := make(map[string][]string)
	groups := make(map[string]string)
	var unknown []string
	for i := 0; i < len(args); i++ {
		name, inline, hasInline := strings.Cut(args[i], "=")
		at := slices.IndexFunc(known, func(f flag) bool { return f.name == name })
		if at < 0 {
			unknown = append(unknown, args[i])
			continue
		}
		f := known[at]
		values := []string{}
		if hasInline {
			values = append(values, inline)
		}
		for !hasInline && f.wants(len(values)) && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			values = append(values, args[i])
		}
		if err := f.check(values); err != nil {
			return nil, err
		}
		if f.group != "" {
			if other, ok := groups[f.group]; ok && other != f.name {
				return nil, usageError(fmt.Sprintf("argument %s: not allowed with argument %s", f.name, other))
			}
			groups[f.group] = f.name
		}
		given[f.name] = values
	}
	if len(unknown) > 0 {
		return nil, usageError("unrecognized arguments: " + strings.Join(unknown, " "))
	}
	return given, checkVerbose(version, given["--verbose"])
}

// wants tells whether the flag takes one more value after n.
func (f flag) wants(n int) bool {
	switch f.arity {
	case "1", "?":
		return n == 0
	case "+", "*":
		return true
	}
	return false
}

func (f flag) check(values []string) error {
	if len(values) == 0 && f.arity == "1" {
		return usageError(fmt.Sprintf("argument %s: expected one argument", f.name))
	}
	if len(values) == 0 && f.arity == "+" {
		return usageError(fmt.Sprintf("argument %s: expected at least one argument", f.name))
	}
	for _, v := range values {
		switch f.kind {
		case "int":
			if _, err := strconv.Atoi(v); err != nil {
				return usageError(fmt.Sprintf("argument %s: invalid int value: '%s'", f.name, v))
			}
		case "float":
			if _, err := strconv.ParseFloat(v, 64); err != nil {
				return usageError(fmt.Sprintf("argument %s: invalid float value: '%s'", f.name, v))
			}
		case "dir":
			if info, err := os.Stat(v); err != nil || !info.IsDir() {
				return usageError(fmt.Sprintf("argument %s: The path '%s' does not exist.", f.name, v))
			}
		}
	}
	return nil
}

func levels() []string { return []string{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"} }

func checkVerbose(version string, values []string) error {
	if len(values) == 0 || slices.Contains(levels(), values[0]) && len(values) <= 2 || newer(version) && values[0] == "DETAIL" {
		return nil
	}
	if newer(version) {
		return usageError("--verbose expects no values, a console LEVEL, or LEVEL FILE")
	}
	return usageError(fmt.Sprintf("argument --verbose: invalid choice: '%s' (choose from 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')", values[0]))
}

// usage is argparse's summary of the flags.
func usage(version string) string {
	text := "usage: main.py [-h]"
	for _, f := range flags(version)[2:] {
		value := strings.ToUpper(strings.ReplaceAll(strings.TrimLeft(f.name, "-"), "-", "_"))
		switch f.arity {
		case "":
			text += fmt.Sprintf(" [%s]", f.name)
		case "1":
			text += fmt.Sprintf(" [%s %s]", f.name, value)
		default:
			text += fmt.Sprintf(" [%s [%s]]", f.name, value)
		}
	}
	return text + "\n"
}
