package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
)

// ErrNoGPU is in the error of a GPU check that did not find one.
var ErrNoGPU = errors.New("no usable GPU")

// A GPU is where to look for the driver and the devices that ComfyUI needs. It
// looks at names in /proc and /dev only, which takes no time, and needs neither
// Python nor the vendor's libraries.
type GPU struct {
	// Root is the directory that holds proc and dev; "" means /.
	Root string
	// Visible is NVIDIA_VISIBLE_DEVICES as the container got it. It explains an
	// absence and proves none: runtimes that mount devices by themselves set it
	// to void.
	Visible string
}

// A Driver is what was found.
type Driver struct {
	// Vendor is nvidia, amd, or wsl for whatever Windows hands through.
	Vendor string
	// Version is the kernel driver's, such as 550.54.15, "" if it tells none.
	Version string
	// Devices are the paths of the GPUs, without Root.
	Devices []string
}

// Check returns the fatal check that there is a GPU, which tells log what it
// found.
func (g GPU) Check(log *zap.Logger) Check {
	return Check{Name: "gpu", Fatal: true, Run: func(context.Context) error {
		d, err := g.Find()
		if err != nil {
			return err
		}
		log.Info("gpu found", zap.String("vendor", d.Vendor), zap.String("driver", d.Version), zap.Strings("devices", d.Devices))
		return nil
	}}
}

// Find looks for a GPU. Without one the error is an ErrNoGPU that tells every
// thing that is missing and what to do. It may block for as long as a driver
// hangs; Preflight bounds that.
func (g GPU) Find() (Driver, error) {
	d := Driver{Vendor: "nvidia", Devices: g.glob("dev/nvidia[0-9]*")}
	loaded, err := os.ReadFile(g.path("proc/driver/nvidia/version"))
	d.Version = driverVersion(string(loaded))
	switch {
	case len(d.Devices) > 0:
		return d, g.complete(d, err)
	case g.has("dev/dxg"):
		return Driver{Vendor: "wsl", Devices: []string{"/dev/dxg"}}, nil
	case g.has("dev/kfd"):
		return g.amd()
	case err == nil:
		return Driver{}, fmt.Errorf("%w: /dev/nvidia0 is missing though the driver %s is loaded%s", ErrNoGPU, cmp.Or(d.Version, "(version unknown)"), g.remedy())
	default:
		return Driver{}, fmt.Errorf("%w: neither /dev/nvidia0 nor /dev/kfd (AMD) is there, and no NVIDIA driver is loaded%s", ErrNoGPU, g.remedy())
	}
}

// complete returns what an NVIDIA device lacks to be of use.
func (g GPU) complete(d Driver, driver error) error {
	var missing []string
	if driver != nil {
		missing = append(missing, "the host's driver is not loaded (/proc/driver/nvidia/version is missing)")
	}
	if !g.has("dev/nvidiactl") {
		missing = append(missing, "/dev/nvidiactl is missing")
	}
	if !g.has("dev/nvidia-uvm") {
		missing = append(missing, "/dev/nvidia-uvm is missing (nvidia-modprobe -u -c=0 on the host makes it)")
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("%w: %s is there, but %s%s", ErrNoGPU, d.Devices[0], strings.Join(missing, ", and "), g.remedy())
}

func (g GPU) amd() (Driver, error) {
	version, _ := os.ReadFile(g.path("sys/module/amdgpu/version")) // only out-of-tree drivers have it
	d := Driver{Vendor: "amd", Version: strings.TrimSpace(string(version)), Devices: g.glob("dev/dri/renderD*")}
	if len(d.Devices) == 0 {
		return Driver{}, fmt.Errorf("%w: /dev/kfd is there, but no /dev/dri/renderD*; start the container with --device /dev/kfd --device /dev/dri, or set COMFY_CPU=true to run without a GPU", ErrNoGPU)
	}
	return d, nil
}

// remedy says what a user can do about a GPU that is not there.
func (g GPU) remedy() string {
	why := ""
	if g.Visible == "void" || g.Visible == "none" {
		why = fmt.Sprintf("; NVIDIA_VISIBLE_DEVICES=%s hides every GPU", g.Visible)
	}
	return why + "; start the container with --gpus all, or set COMFY_CPU=true to run without a GPU"
}

func (g GPU) path(name string) string { return filepath.Join("/", g.Root, name) }

func (g GPU) has(name string) bool {
	_, err := os.Stat(g.path(name))
	return err == nil
}

// glob returns the paths that match, as they are called below Root.
func (g GPU) glob(pattern string) []string {
	dir, base := filepath.Split(pattern)
	entries, _ := os.ReadDir(g.path(dir)) // what cannot be read is not there
	var paths []string
	for _, e := range entries {
		if ok, _ := filepath.Match(base, e.Name()); ok {
			paths = append(paths, "/"+dir+e.Name())
		}
	}
	return paths
}

// driverVersion reads 550.54.15 out of /proc/driver/nvidia/version, whose first
// line is "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar ..."
// or, of the open driver, "... Open Kernel Module for x86_64  560.35.03 ...". Without one it returns "".
func driverVersion(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	for _, word := range strings.Fields(line) {
		if strings.Contains(word, ".") && word[0] != '.' && strings.Trim(word, "0123456789.") == "" {
			return word
		}
	}
	return ""
}
