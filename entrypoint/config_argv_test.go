package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComfyArgv(t *testing.T) {
	const standard = "--disable-auto-launch --disable-metadata --verbose DEBUG --log-stdout --port 8188 --max-upload-size 1024"
	tests := []struct {
		name string
		env  []string
		want string // words separated by |, where they are not by spaces
	}{
		{"defaults", nil, "python /comfyui/main.py " + standard},
		{"home is filled in", []string{"COMFY_HOME=/opt/comfy ui", "COMFY_EXTRA_ARGS=--x ${COMFY_HOME}/y"},
			"python|/opt/comfy ui/main.py|" + bars(standard) + "|--x|/opt/comfy ui/y"},
		{"command is split as by a shell", []string{`COMFY_COMMAND=nice -n 5 "/my venv/bin/python" 'a b' c\ d $HOME`},
			"nice|-n|5|/my venv/bin/python|a b|c d|$HOME|" + bars(standard)},
		{"level and port", []string{"COMFY_LOG_LEVEL=info", "COMFY_PORT=9000"},
			"python /comfyui/main.py --disable-auto-launch --disable-metadata --verbose INFO --log-stdout --port 9000 --max-upload-size 1024"},
		{"local API listens everywhere, and its console shows previews", []string{"SERVE_API_LOCALLY=true"},
			"python /comfyui/main.py " + standard + " --listen --preview-method auto"},
		{"uploads as large as downloads, and no smaller than by default", []string{"MAX_DOWNLOAD_MB=7"},
			"python /comfyui/main.py --disable-auto-launch --disable-metadata --verbose DEBUG --log-stdout --port 8188 --max-upload-size 100"},
		{"output directory and CPU", []string{"COMFY_OUTPUT_DIR=/out", "COMFY_CPU=yes"},
			"python /comfyui/main.py " + standard + " --output-directory /out --cpu"},
		{"extra flags come last", []string{"COMFY_EXTRA_ARGS=--highvram --fast fp16"},
			"python /comfyui/main.py " + standard + " --highvram --fast fp16"},
		{"a flag of the user is not given twice",
			[]string{"SERVE_API_LOCALLY=1", "COMFY_COMMAND=python m.py --log-stdout", "COMFY_EXTRA_ARGS=--verbose=ERROR --listen 127.0.0.1"},
			"python m.py --log-stdout --disable-auto-launch --disable-metadata --port 8188 --max-upload-size 1024 --preview-method auto --verbose=ERROR --listen 127.0.0.1"},
		{"a flag that only begins alike is another", []string{"COMFY_EXTRA_ARGS=--cpu-vae", "COMFY_CPU=1"},
			"python /comfyui/main.py " + standard + " --cpu --cpu-vae"},
		{"no shell is run", []string{"COMFY_EXTRA_ARGS=--x $(id) `id` ; rm > y"},
			"python /comfyui/main.py " + standard + " --x $(id) `id` ; rm > y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := configFromEnv(tt.env)
			if err != nil {
				t.Fatal(err)
			}
			got, err := comfyArgv(cfg)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if !strings.Contains(want, "|") {
				want = bars(want)
			}
			if diff := cmp.Diff(want, strings.Join(got, "|")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func bars(s string) string { return strings.ReplaceAll(s, " ", "|") }

func TestComfyArgvRefusesWhatCannotBeSplit(t *testing.T) {
	for _, command := range []string{"", "# only a comment", `python "main.py`} {
		if argv, err := comfyArgv(Config{Comfy: ComfyConfig{Command: command}}); err == nil {
			t.Errorf("COMFY_COMMAND=%s: got %q, want an error", command, argv)
		}
	}
	if _, err := comfyArgv(Config{Comfy: ComfyConfig{Command: "python", ExtraArgs: `'`}}); err == nil {
		t.Error("an open quotation mark in COMFY_EXTRA_ARGS is accepted")
	}
}

func TestDirectories(t *testing.T) {
	tests := []struct {
		env           []string
		output, input string
	}{
		{nil, "/comfyui/output", "/comfyui/input"},
		{[]string{"COMFY_HOME=/opt/c"}, "/opt/c/output", "/opt/c/input"},
		{[]string{"COMFY_OUTPUT_DIR=/out"}, "/out", "/comfyui/input"},
		{[]string{"COMFY_EXTRA_ARGS=--output-directory=/a --output-directory /b"}, "/b", "/comfyui/input"},
		{[]string{"COMFY_EXTRA_ARGS=--base-directory /data --input-directory /in"}, "/data/output", "/in"},
		{[]string{"COMFY_EXTRA_ARGS=--base-directory /data", "COMFY_OUTPUT_DIR=/out"}, "/out", "/data/input"},
		{[]string{"COMFY_EXTRA_ARGS=--output-directory"}, "/comfyui/output", "/comfyui/input"},
	}
	for _, tt := range tests {
		cfg, err := configFromEnv(tt.env)
		if err != nil {
			t.Fatal(err)
		}
		argv, err := comfyArgv(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if out, in := outputDir(cfg, argv), inputDir(cfg, argv); out != tt.output || in != tt.input {
			t.Errorf("%q: got %s and %s, want %s and %s", tt.env, out, in, tt.output, tt.input)
		}
	}
}

func TestGPUWanted(t *testing.T) {
	tests := []struct {
		env  string
		want bool
	}{
		{"", true},
		{"GPU_CHECK=off", false},
		{"GPU_CHECK=required", true},
		{"COMFY_CPU=true", false},
		{"COMFY_EXTRA_ARGS=--cpu", false},
		{"COMFY_EXTRA_ARGS=--cpu-vae", true},
		{"GPU_CHECK=required COMFY_EXTRA_ARGS=--cpu", true},
	}
	for _, tt := range tests {
		cfg, err := configFromEnv(strings.Fields(tt.env))
		if err != nil {
			t.Fatal(err)
		}
		argv, err := comfyArgv(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := gpuWanted(cfg, argv); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.env, got, tt.want)
		}
	}
}

func FuzzComfyArgv(f *testing.F) {
	f.Add("python $COMFY_HOME/main.py", "--highvram", "/comfyui")
	f.Add(`"a b" 'c`, "\\", "")
	f.Add("--port", "--port", "--verbose")
	f.Add("python", "--port", "")
	f.Fuzz(func(t *testing.T, command, extra, home string) {
		cfg, err := configFromEnv([]string{"COMFY_COMMAND=" + command, "COMFY_EXTRA_ARGS=" + extra, "COMFY_HOME=" + home})
		if err != nil {
			return
		}
		argv, err := comfyArgv(cfg)
		if err != nil {
			t.Fatalf("the configuration is accepted but has no command: %v", err)
		}
		if got := flagValue(argv, "--port"); got != "8188" {
			t.Errorf("ComfyUI would listen on %q in %q", got, argv)
		}
	})
}
