package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

// byValue lets cmp compare secrets.
var byValue = cmp.Comparer(func(a, b secret.Text) bool { return a.Reveal() == b.Reveal() })

// documented are the variables that worker-comfyui documents, with the defaults
// that it promises.
var documented = map[string]string{
	"REFRESH_WORKER":               "false",
	"SERVE_API_LOCALLY":            "false",
	"COMFY_ORG_API_KEY":            "",
	"COMFY_LOG_LEVEL":              "DEBUG",
	"WEBSOCKET_RECONNECT_ATTEMPTS": "5",
	"WEBSOCKET_RECONNECT_DELAY_S":  "3",
	"WEBSOCKET_TRACE":              "false",
	"BUCKET_ENDPOINT_URL":          "",
	"BUCKET_ACCESS_KEY_ID":         "",
	"BUCKET_SECRET_ACCESS_KEY":     "",
	"AWS_DEFAULT_REGION":           "",
}

func TestEveryDocumentedVariableKeepsItsNameAndDefault(t *testing.T) {
	got := make(map[string]string)
	for _, v := range variables() {
		if _, ok := documented[v.Name]; ok {
			got[v.Name] = v.Default
		}
	}
	if diff := cmp.Diff(documented, got); diff != "" {
		t.Errorf("names and defaults (-want +got):\n%s", diff)
	}
}

func TestEveryVariableIsDescribedOnce(t *testing.T) {
	seen := make(map[string]bool)
	for _, v := range variables() {
		if v.Name == "" || v.Help == "" || v.Group == "" {
			t.Errorf("%+v lacks a name, a help text or a group", v)
		}
		if seen[v.Name] {
			t.Errorf("%s stands for two fields", v.Name)
		}
		seen[v.Name] = true
		if _, ok := v.read(v.Default); !ok {
			t.Errorf("%s: its default %q is none of its values", v.Name, v.Default)
		}
		for _, tag := range []string{"min", "max"} {
			if s := v.tag.Get(tag); s != "" && v.bound(tag, -1) < 0 {
				t.Errorf("%s: its bound %s=%q is no number", v.Name, tag, s)
			}
		}
	}
}

func TestConfigOfAnEmptyEnvironment(t *testing.T) {
	got, err := configFromEnv(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uuid.Parse(got.Queue.WorkerID); err != nil {
		t.Errorf("worker id %q is no UUID: %v", got.Queue.WorkerID, err)
	}
	got.Queue.WorkerID = ""
	want := Config{
		General: GeneralConfig{DataDir: "/tmp/comfyvisor", SSHPort: 22},
		Comfy: ComfyConfig{Home: "/comfyui", Command: "python $COMFY_HOME/main.py", Instances: "1", Port: 8188,
			GPUCheck: "auto", TCMalloc: true, Manager: "offline", LogLevel: "DEBUG"},
		Jobs: JobsConfig{ResultLimit: 20, MinFree: 512, WorkflowCheck: "on", OutputFormat: "original", MaxDownload: 1024, ProgressInterval: 2 * time.Second, SocketAttempts: 5,
			SocketDelay: 3 * time.Second},
		Bucket: BucketConfig{KeyTemplate: "{date}/{job_id}/{filename}", PresignExpiry: 7 * 24 * time.Hour,
			Style: "auto"},
		API: APIConfig{Host: "0.0.0.0", Port: 8000, HealthPath: "/ping"},
		Watch: WatchConfig{ReadyInterval: 50 * time.Millisecond, BootLimit: 10 * time.Minute,
			BootStall: 3 * time.Minute, LiveInterval: 5 * time.Second, LiveFailures: 6,
			LiveSilence: 2 * time.Minute, LiveLimit: 15 * time.Minute, Backoff: 500 * time.Millisecond, BackoffMax: 30 * time.Second,
			Healthy: time.Minute, Boots: 5, Unfit: 5 * time.Minute, StopBudget: 9 * time.Second, Grace: 3 * time.Second},
		Log:   LogConfig{Level: "info", Format: "console", StatusAddr: "127.0.0.1:8001"},
		Queue: QueueConfig{PingInterval: 10 * time.Second},
	}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	blank := make([]string, 0, 2*len(documented))
	for _, v := range variables() {
		blank = append(blank, v.Name+"= ")
	}
	again, err := configFromEnv(blank)
	again.Queue.WorkerID = ""
	if diff := cmp.Diff(want, again, byValue); diff != "" || err != nil {
		t.Errorf("blank variables do not count as unset: %v (-want +got):\n%s", err, diff)
	}
}

func TestConfigValues(t *testing.T) {
	tests := []struct {
		env  string
		got  func(Config) any
		want any
	}{
		{"REFRESH_WORKER=TRUE", func(c Config) any { return c.General.Refresh }, true},
		{"REFRESH_WORKER=1", func(c Config) any { return c.General.Refresh }, true},
		{"REFRESH_WORKER=Yes", func(c Config) any { return c.General.Refresh }, true},
		{"REFRESH_WORKER=on", func(c Config) any { return c.General.Refresh }, true},
		{"REFRESH_WORKER=False", func(c Config) any { return c.General.Refresh }, false},
		{"REFRESH_WORKER=0", func(c Config) any { return c.General.Refresh }, false},
		{"REFRESH_WORKER=no", func(c Config) any { return c.General.Refresh }, false},
		{"REFRESH_WORKER=OFF", func(c Config) any { return c.General.Refresh }, false},
		{"COMFY_LOG_LEVEL=warning", func(c Config) any { return c.Comfy.LogLevel }, "WARNING"},
		{"COMFY_PORT= 9000 ", func(c Config) any { return c.Comfy.Port }, 9000},
		{"COMFY_ENV_PASS=A, B,,C", func(c Config) any { return c.Comfy.EnvPass }, []string{"A", "B", "C"}},
		{"COMFY_ORG_API_KEY=k\n", func(c Config) any { return c.Comfy.OrgAPIKey.Reveal() }, "k"},
		{"JOB_TIMEOUT=90", func(c Config) any { return c.Jobs.Timeout }, 90 * time.Second},
		{"JOB_TIMEOUT=1h30m", func(c Config) any { return c.Jobs.Timeout }, 90 * time.Minute},
		{"BUCKET_PRESIGN_EXPIRY=2d", func(c Config) any { return c.Bucket.PresignExpiry }, 48 * time.Hour},
		{"WEBSOCKET_RECONNECT_DELAY_S=0", func(c Config) any { return c.Jobs.SocketDelay }, time.Duration(0)},
		{"COMFY_API_AVAILABLE_INTERVAL_MS=250", func(c Config) any { return c.Watch.ReadyInterval }, 250 * time.Millisecond},
		{"RUNPOD_PING_INTERVAL=4999", func(c Config) any { return c.Queue.PingInterval }, 4 * time.Second},
		{"RUNPOD_PING_INTERVAL=999", func(c Config) any { return c.Queue.PingInterval }, time.Second},
		{"RUNPOD_POD_ID=pod-1", func(c Config) any { return c.Queue.WorkerID }, "pod-1"},
		{"RUNPOD_LOG_LEVEL=TRACE", func(c Config) any { return c.Log.Level }, "debug"},
		{"RUNPOD_DEBUG_LEVEL=warn", func(c Config) any { return c.Log.Level }, "warn"},
		{"RUNPOD_DEBUG_LEVEL=ERROR RUNPOD_LOG_LEVEL=DEBUG", func(c Config) any { return c.Log.Level }, "debug"},
		{"RUNPOD_LOG_LEVEL=DEBUG LOG_LEVEL=Error", func(c Config) any { return c.Log.Level }, "error"},
		{"RUNPOD_ENDPOINT_ID=e", func(c Config) any { return c.Log.Format }, "json"},
		{"RUNPOD_ENDPOINT_ID=e LOG_FORMAT=console", func(c Config) any { return c.Log.Format }, "console"},
		{"LOG_FORMAT=JSON", func(c Config) any { return c.Log.Format }, "json"},
		{"BUCKET_PREFIX=/a/b/", func(c Config) any { return c.Bucket.template() }, "a/b/{date}/{job_id}/{filename}"},
		{"BUCKET_KEY_TEMPLATE={job_id}", func(c Config) any { return c.Bucket.template() }, "{job_id}"},
		{"STATUS_ADDR=[::1]:9", func(c Config) any { return c.Log.StatusAddr }, "[::1]:9"},
	}
	for _, tt := range tests {
		t.Run(tt.env, func(t *testing.T) {
			environ := []string{tt.env}
			if strings.Contains(tt.env, " RUNPOD") || strings.Contains(tt.env, " LOG") {
				environ = strings.Fields(tt.env)
			}
			cfg, err := configFromEnv(environ)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tt.got(cfg)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultsOfVariables(t *testing.T) {
	tests := []struct{ env, want string }{
		{"COMFY_LOG_LEVEL=verbose", "COMFY_LOG_LEVEL=verbose: want one of DEBUG, INFO, WARNING, ERROR, CRITICAL"},
		{"REFRESH_WORKER=ja", "REFRESH_WORKER=ja: want true or false"},
		{"COMFY_PORT=0", "COMFY_PORT=0: want a whole number from 1 to 65535"},
		{"COMFY_PORT=65536", "COMFY_PORT=65536: want a whole number from 1 to 65535"},
		{"COMFY_PORT=80a", "COMFY_PORT=80a: want a whole number from 1 to 65535"},
		{"JOB_PREFETCH=2", "JOB_PREFETCH=2: want a whole number from 0 to 1"},
		{"WEBSOCKET_RECONNECT_DELAY_S=3s", "WEBSOCKET_RECONNECT_DELAY_S=3s: want a whole number of seconds from 0 to 3600"},
		{"WEBSOCKET_RECONNECT_ATTEMPTS=-1", "WEBSOCKET_RECONNECT_ATTEMPTS=-1: want a whole number from 0 to 1000"},
		{"COMFY_API_AVAILABLE_INTERVAL_MS=0", "COMFY_API_AVAILABLE_INTERVAL_MS=0: want a whole number of milliseconds from 1 to 60000"},
		{"BOOT_LIMIT=soon", "BOOT_LIMIT=soon: want a duration such as 90s or 10m, 1s or more"},
		{"BOOT_LIMIT=-5s", "BOOT_LIMIT=-5s: want a duration such as 90s or 10m, 1s or more"},
		{"BUCKET_PRESIGN_EXPIRY=8d", "BUCKET_PRESIGN_EXPIRY=8d: want a duration such as 90s or 10m from 1s to 7d"},
		{"STATUS_ADDR=8001", "STATUS_ADDR=8001: want host:port"},
		{"STATUS_ADDR=:http", "STATUS_ADDR=:http: want host:port"},
		{"LOG_LEVEL=a\x1b[31mb", `LOG_LEVEL="a\x1b[31mb": want one of debug, info, warn, error`},
		{"GPU_CHECK=" + strings.Repeat("x", 99), "GPU_CHECK=" + strings.Repeat("x", 60) + "...: want one of auto, off, required"},
		{"API_TOKEN=too-short", "API_TOKEN: want at least 16 characters"},
		{"BUCKET_PUBLIC_URL=user:pa55word@cdn", "BUCKET_PUBLIC_URL: want an http or https URL"},
		{"COMFY_EXTRA_ARGS=--token 'abc", "COMFY_EXTRA_ARGS: want words, with no quotation mark left open"},
		{"COMFY_COMMAND=# nothing", "COMFY_COMMAND: want words, with no quotation mark left open"},
	}
	for _, tt := range tests {
		t.Run(tt.env, func(t *testing.T) {
			_, err := configFromEnv([]string{tt.env})
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestFaultsBetweenVariables(t *testing.T) {
	tests := []struct {
		name string
		env  []string
		want string
	}{
		{"bucket without keys", []string{"BUCKET_ENDPOINT_URL=https://x.test/b"},
			"BUCKET_ACCESS_KEY_ID: not set, but required with BUCKET_ENDPOINT_URL\n" +
				"BUCKET_SECRET_ACCESS_KEY: not set, but required with BUCKET_ENDPOINT_URL"},
		{"queue without a place for results", []string{"RUNPOD_WEBHOOK_GET_JOB=https://x.test/take"},
			"RUNPOD_WEBHOOK_POST_OUTPUT: not set, but required with RUNPOD_WEBHOOK_GET_JOB: results would have nowhere to go"},
		{"GPU required on the CPU", []string{"COMFY_CPU=1", "GPU_CHECK=required"},
			"GPU_CHECK=required: contradicts COMFY_CPU=true; unset one of them"},
		{"grace longer than the stop", []string{"COMFY_STOP_GRACE=9"},
			"COMFY_STOP_GRACE=9s: want less than STOP_BUDGET, which is 9s"},
		{"backoff beyond its maximum", []string{"RESTART_BACKOFF=1m"},
			"RESTART_BACKOFF=1m0s: want no more than RESTART_BACKOFF_MAX, which is 30s"},
		{"one port for two", []string{"SERVE_API_LOCALLY=1", "API_PORT=8188"},
			"API_PORT: port 8188 is that of COMFY_PORT too; give them different ones"},
		{"status on the port of ComfyUI", []string{"STATUS_ADDR=:8188"},
			"STATUS_ADDR: port 8188 is that of COMFY_PORT too; give them different ones"},
		{"another port by flag", []string{"COMFY_EXTRA_ARGS=--port=9000"},
			"COMFY_PORT=8188: COMFY_COMMAND or COMFY_EXTRA_ARGS has --port 9000; leave that flag out and set COMFY_PORT"},
		{"port without a number", []string{"COMFY_EXTRA_ARGS=--port 8188 --port"},
			"COMFY_PORT=8188: COMFY_COMMAND or COMFY_EXTRA_ARGS has --port ; leave that flag out and set COMFY_PORT"},
		{"same port by flag", []string{"COMFY_EXTRA_ARGS=--port 8188"}, ""},
		{"API port unused", []string{"API_PORT=8188"}, ""},
		{"keys without an endpoint", []string{"BUCKET_ACCESS_KEY_ID=a", "BUCKET_SECRET_ACCESS_KEY=b"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := configFromEnv(tt.env)
			if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestAllFaultsAreReportedAtOnceAndTheRestIsRead(t *testing.T) {
	cfg, err := configFromEnv([]string{
		"COMFY_LOG_LEVEL=verbose", "API_TOKEN=canary", "JOB_PREFETCH=many", "COMFY_PORT=9000",
		"COMFY_STOP_GRACE=20s", "COMFY_PORT=ignored: the first one counts",
	})
	want := `COMFY_LOG_LEVEL=verbose: want one of DEBUG, INFO, WARNING, ERROR, CRITICAL
JOB_PREFETCH=many: want a whole number from 0 to 1
API_TOKEN: want at least 16 characters
COMFY_STOP_GRACE=20s: want less than STOP_BUDGET, which is 9s`
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if cfg.Comfy.Port != 9000 || cfg.Comfy.LogLevel != "DEBUG" {
		t.Errorf("port %d, level %s; want the value that is right and the default of the one that is wrong", cfg.Comfy.Port, cfg.Comfy.LogLevel)
	}
}

// A webhook's URL may have any form that the platform fills in; one that is no
// URL is refused by the variable's name, and its value, which is a secret, is
// not shown.
func TestFault_J13_OddWebhookURLs(t *testing.T) {
	good := []string{
		"https://api.runpod.ai/v2/e/job-take/$RUNPOD_POD_ID?gpu=A100",
		"https://api.runpod.ai/v2/e/job-take/$ID", "http://10.0.0.1:8080/take/$ID?", "http://[::1]/x",
		" https://x.test/$ID \n", "HTTPS://X.test", "https://x.test/?a=b&c=$ID#f",
	}
	bad := []string{
		"canary", "canary.test/take", "ftp://canary.test/x", "https://", "https:///canary", "//canary.test/x",
		"https://canary .test/x", "http://canary:port/", "https://%zz.canary", "file:///canary", ":canary",
	}
	for _, name := range []string{"RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT", "RUNPOD_WEBHOOK_POST_STREAM", "RUNPOD_WEBHOOK_PING"} {
		others := []string{"RUNPOD_WEBHOOK_POST_OUTPUT=https://x.test"}
		for _, u := range good {
			if _, err := configFromEnv(append([]string{name + "=" + u}, others...)); err != nil {
				t.Errorf("%s=%q: %v", name, u, err)
			}
		}
		for _, u := range bad {
			_, err := configFromEnv(append([]string{name + "=" + u}, others...))
			if got := fmt.Sprint(err); !strings.HasPrefix(got, name+": want an http or https URL") || strings.Contains(got, "canary") {
				t.Errorf("%s=%q: got %s, want the name and not the value", name, u, got)
			}
		}
	}
}

func TestSecretsAreAllSecretsOfTheConfig(t *testing.T) {
	environ := []string{"RUNPOD_WEBHOOK_GET_JOB=https://x.test/take/$ID?k=1", "BUCKET_NAME=not-a-secret"}
	want := []string{"https://x.test/take/"}
	for _, v := range variables() {
		if v.kind == secretKind && v.tag.Get("format") != "url" {
			environ = append(environ, v.Name+"=canary-of-"+v.Name)
			want = append(want, "canary-of-"+v.Name)
		}
	}
	cfg, _ := configFromEnv(environ)
	got := cfg.secretValues()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	shown := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg)
	if strings.Contains(shown, "canary") {
		t.Errorf("a printed Config shows a secret: %s", shown)
	}
}

// TestSecretLookingVariablesAreSecrets holds the type of each field to its name.
func TestSecretLookingVariablesAreSecrets(t *testing.T) {
	for _, v := range variables() {
		named := looksSecret(v.Name) || strings.HasPrefix(v.Name, "RUNPOD_WEBHOOK_")
		if named != (v.kind == secretKind) && v.Name != "BUCKET_KEY_TEMPLATE" && v.Name != "PUBLIC_KEY" {
			t.Errorf("%s: secret by name %t, by type %v", v.Name, named, v.kind)
		}
	}
}
