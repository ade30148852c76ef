package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// volumeWith makes a network volume with one checkpoint.
func volumeWith(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 5000), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ComfyUI is given a model path file: the one that is named, or one made from
// what is on the volume, wherever that is.
func TestVariable_EXTRA_MODEL_PATHS(t *testing.T) {
	t.Parallel()
	volume := volumeWith(t, "ComfyUI/models/checkpoints/sd_xl.safetensors")
	named := filepath.Join(t.TempDir(), "paths.yaml")
	if err := os.WriteFile(named, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Run("auto", func(t *testing.T) {
		t.Parallel()
		p := start(t, options{env: with(local, "EXTRA_MODEL_PATHS", "auto", "RUNPOD_VOLUME_PATH", volume)})
		p.waitReady()
		path := flagValue(strings.Fields(p.argv()), "--extra-model-paths-config")
		raw, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(raw), `"checkpoints": "`+volume+`/ComfyUI/models/checkpoints"`) {
			t.Errorf("ComfyUI was given %s with %q: %v", path, raw, err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		t.Parallel()
		p := start(t, options{env: with(local, "EXTRA_MODEL_PATHS", named)})
		p.waitReady()
		if argv := p.argv(); !strings.Contains(argv, "--extra-model-paths-config "+named) {
			t.Errorf("ComfyUI was started with %q", argv)
		}
	})
	t.Run("unset", func(t *testing.T) {
		t.Parallel()
		p := start(t, options{env: with(local, "RUNPOD_VOLUME_PATH", volume)})
		p.waitReady()
		if argv := p.argv(); strings.Contains(argv, "--extra-model-paths-config") {
			t.Errorf("ComfyUI was started with %q", argv)
		}
	})
	t.Run("no volume", func(t *testing.T) {
		t.Parallel()
		p := start(t, options{env: with(local, "EXTRA_MODEL_PATHS", "auto", "RUNPOD_VOLUME_PATH", "/no/such/volume")})
		p.waitReady()
		if argv := p.argv(); strings.Contains(argv, "--extra-model-paths-config") || !strings.Contains(p.log(), "without the models of the network volume") {
			t.Errorf("ComfyUI was started with %q", argv)
		}
	})
	t.Run("no file", func(t *testing.T) {
		t.Parallel()
		p := start(t, options{env: with(local, "EXTRA_MODEL_PATHS", "/no/such/file.yaml")})
		if code := p.exit(); code != exitConfig || !strings.Contains(p.log(), "EXTRA_MODEL_PATHS") {
			t.Errorf("exit code = %d, want %d", code, exitConfig)
		}
	})
}

func TestVariable_NETWORK_VOLUME_DEBUG(t *testing.T) {
	t.Parallel()
	volume := volumeWith(t, "models/models/loras/style.safetensors")
	p := start(t, options{env: with(local, "NETWORK_VOLUME_DEBUG", "true", "RUNPOD_VOLUME_PATH", volume, "EXTRA_MODEL_PATHS", "auto")})
	p.waitReady()
	p.waitLine("style.safetensors", "5000 bytes")
	p.waitLine("likely mistake", "one models too deep")
	p.waitLine("model path file in force", "extra_model_paths.yaml")
}
