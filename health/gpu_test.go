package health

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const (
	closedDriver = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
	openDriver   = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build  (dvs-builder@U16-I3-A10-2-3)  Fri Aug 16 21:42:42 UTC 2024\n"
)

// tree makes a root with these files, given as path or path=content.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, file := range files {
		name, content, _ := strings.Cut(file, "=")
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const driverFile = "proc/driver/nvidia/version="

func TestGPUFind(t *testing.T) {
	whole := []string{driverFile + closedDriver, "dev/nvidia0", "dev/nvidiactl", "dev/nvidia-uvm"}
	tests := []struct {
		name    string
		files   []string
		visible string
		want    Driver
	}{
		{"one NVIDIA card", whole, "all", Driver{"nvidia", "550.54.15", []string{"/dev/nvidia0"}}},
		{"two cards of a larger machine, beside what is no card", append(whole[2:], driverFile+openDriver, "dev/nvidia3", "dev/nvidia5", "dev/nvidia-modeset", "dev/nvidia-caps/nvidia-cap1"), "", Driver{"nvidia", "560.35.03", []string{"/dev/nvidia3", "/dev/nvidia5"}}},
		{"devices mounted by a runtime that sets void", whole, "void", Driver{"nvidia", "550.54.15", []string{"/dev/nvidia0"}}},
		{"AMD", []string{"dev/kfd", "dev/dri/renderD128", "dev/dri/card0", "sys/module/amdgpu/version=6.10.5\n"}, "", Driver{"amd", "6.10.5", []string{"/dev/dri/renderD128"}}},
		{"AMD with the kernel's own driver", []string{"dev/kfd", "dev/dri/renderD128"}, "", Driver{"amd", "", []string{"/dev/dri/renderD128"}}},
		{"AMD's card on a host that has NVIDIA's driver too", []string{driverFile + closedDriver, "dev/kfd", "dev/dri/renderD128"}, "", Driver{"amd", "", []string{"/dev/dri/renderD128"}}},
		{"Windows", []string{"dev/dxg"}, "", Driver{"wsl", "", []string{"/dev/dxg"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := GPU{Root: tree(t, tt.files...), Visible: tt.visible}.Find()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Without a usable GPU the start is refused before any job is taken, with all
// that is missing and what to do about it, and without asking Python.
func TestFault_L8_NoGPU(t *testing.T) {
	tests := []struct {
		name    string
		files   []string
		visible string
		want    string
	}{
		{"nothing at all", nil, "", "neither /dev/nvidia0 nor /dev/kfd (AMD) is there, and no NVIDIA driver is loaded; start the container with --gpus all, or set COMFY_CPU=true to run without a GPU"},
		{"a driver and no device", []string{driverFile + closedDriver}, "", "/dev/nvidia0 is missing though the driver 550.54.15 is loaded; start the container with --gpus all, or set COMFY_CPU=true to run without a GPU"},
		{"a driver that tells no version", []string{driverFile + "?"}, "", "/dev/nvidia0 is missing though the driver (version unknown) is loaded; start the container with --gpus all, or set COMFY_CPU=true to run without a GPU"},
		{"hidden", []string{driverFile + closedDriver}, "none", "/dev/nvidia0 is missing though the driver 550.54.15 is loaded; NVIDIA_VISIBLE_DEVICES=none hides every GPU; start the container with --gpus all, or set COMFY_CPU=true to run without a GPU"},
		{"only what is no card", []string{driverFile + closedDriver, "dev/nvidiactl", "dev/nvidia-uvm"}, "all", "/dev/nvidia0 is missing though the driver 550.54.15 is loaded; start the container with --gpus all, or set COMFY_CPU=true to run without a GPU"},
		{"a card and nothing else", []string{"dev/nvidia2"}, "", "/dev/nvidia2 is there, but the host's driver is not loaded (/proc/driver/nvidia/version is missing), and /dev/nvidiactl is missing, and /dev/nvidia-uvm is missing (nvidia-modprobe -u -c=0 on the host makes it); start the container with --gpus all, or set COMFY_CPU=true to run without a GPU"},
		{"AMD without cards", []string{"dev/kfd", "dev/dri/card0"}, "", "/dev/kfd is there, but no /dev/dri/renderD*; start the container with --device /dev/kfd --device /dev/dri, or set COMFY_CPU=true to run without a GPU"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gpu := GPU{Root: tree(t, tt.files...), Visible: tt.visible}
			err := Preflight(t.Context(), zap.NewNop(), gpu.Check(zap.NewNop()))
			if !errors.Is(err, ErrNoGPU) {
				t.Fatalf("got %v, want one that is ErrNoGPU", err)
			}
			if want := "gpu: no usable GPU: " + tt.want; err.Error() != want {
				t.Errorf("got  %v\nwant %v", err, want)
			}
		})
	}
}

func TestGPUCheckTellsWhatItFound(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	gpu := GPU{Root: tree(t, driverFile+openDriver, "dev/nvidia0", "dev/nvidiactl", "dev/nvidia-uvm")}
	if err := Preflight(t.Context(), zap.NewNop(), gpu.Check(zap.New(core))); err != nil {
		t.Fatal(err)
	}
	if got := logs.All(); len(got) != 1 || got[0].ContextMap()["driver"] != "560.35.03" {
		t.Errorf("log is %v, want one line with driver 560.35.03", got)
	}
}

func TestGPULooksAtTheRealRootByDefault(t *testing.T) {
	if got := (GPU{}).path("dev"); got != "/dev" {
		t.Errorf("got %s, want /dev", got)
	}
}

func FuzzDriverVersion(f *testing.F) {
	for _, seed := range []string{closedDriver, openDriver, "", "NVRM version:", "NVRM version: 1.2 3.4", ". ..", "\n550.54"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v := driverVersion(text); strings.Trim(v, "0123456789.") != "" || !strings.Contains(text, v) {
			t.Errorf("driverVersion(%q) = %q", text, v)
		}
	})
}
