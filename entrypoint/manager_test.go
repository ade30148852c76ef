package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSettingInINI(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"empty", "", "[default]\nnetwork_mode = offline\n"},
		{"changed", "[default]\na = 1\nnetwork_mode = public\nb = 2\n", "[default]\na = 1\nnetwork_mode = offline\nb = 2\n"},
		{"spelled otherwise", "[default]\nNetwork_Mode:private\n", "[default]\nnetwork_mode = offline\n"},
		{"as it should be", "[default]\nnetwork_mode = offline\n", "[default]\nnetwork_mode = offline\n"},
		{"added", "# mine\n[default]\nuse_uv = True\n", "# mine\n[default]\nnetwork_mode = offline\nuse_uv = True\n"},
		{"that of another section is not ours", "[other]\nnetwork_mode = public\n", "[other]\nnetwork_mode = public\n[default]\nnetwork_mode = offline\n"},
		{"nor that of a later one", "[default]\n[other]\nnetwork_mode = public\n", "[default]\nnetwork_mode = offline\n[other]\nnetwork_mode = public\n"},
		{"a value with a colon in it", "[default]\nchannel_url = https://example.test/network_mode\n", "[default]\nnetwork_mode = offline\nchannel_url = https://example.test/network_mode\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := withSetting(tt.text, "default", "network_mode", "offline"); got != tt.want {
				t.Errorf("withSetting(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestManagerIsSetOffline(t *testing.T) {
	t.Parallel()
	const (
		older   = "user/default/ComfyUI-Manager/config.ini"
		newer   = "user/__manager/config.ini"
		offline = "[default]\nnetwork_mode = offline\n"
	)
	tests := []struct {
		name  string
		files map[string]string
		mode  string
		extra string
		want  map[string]string // "" is no such file
	}{
		{"no manager", map[string]string{"custom_nodes/other/__init__.py": ""}, "offline", "", map[string]string{older: "", newer: ""}},
		{"older releases", map[string]string{"custom_nodes/comfyui-manager/__init__.py": ""}, "offline", "", map[string]string{older: offline, newer: ""}},
		{"newer releases", map[string]string{"custom_nodes/ComfyUI-Manager/__init__.py": "", "folder_paths.py": "def get_system_user_directory(name):"}, "offline", "",
			map[string]string{older: "", newer: offline}},
		{"the package", nil, "offline", "--enable-manager", map[string]string{older: "", newer: offline}},
		{"a file of the user's", map[string]string{"custom_nodes/ComfyUI-Manager/__init__.py": "", older: "[default]\nnetwork_mode = public\nuse_uv = True\n"}, "private", "",
			map[string]string{older: "[default]\nnetwork_mode = private\nuse_uv = True\n", newer: ""}},
		{"kept", map[string]string{"custom_nodes/ComfyUI-Manager/__init__.py": ""}, keepMode, "", map[string]string{older: "", newer: ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{}
			cfg.Comfy.Home, cfg.Comfy.Command, cfg.Comfy.Manager, cfg.Comfy.ExtraArgs = t.TempDir(), "python main.py", tt.mode, tt.extra
			for name, content := range tt.files {
				writeFile(t, filepath.Join(cfg.Comfy.Home, name), content)
			}
			if err := setManagerMode(cfg); err != nil {
				t.Fatalf("setManagerMode: %v", err)
			}
			for name, want := range tt.want {
				got, err := os.ReadFile(filepath.Join(cfg.Comfy.Home, name))
				if want == "" && !errors.Is(err, fs.ErrNotExist) || string(got) != want {
					t.Errorf("%s holds %q (%v), want %q", name, got, err, want)
				}
			}
		})
	}
}

// A file that cannot be written is told, and nothing else comes of it.
func TestManagerModeThatCannotBeSetIsToldByName(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	cfg.Comfy.Home, cfg.Comfy.Command, cfg.Comfy.Manager = t.TempDir(), "python main.py", "offline"
	writeFile(t, filepath.Join(cfg.Comfy.Home, "custom_nodes/ComfyUI-Manager/__init__.py"), "")
	writeFile(t, filepath.Join(cfg.Comfy.Home, "user"), "a file where a directory has to be")
	if err := setManagerMode(cfg); err == nil {
		t.Error("setManagerMode has no error, want one")
	}
}
