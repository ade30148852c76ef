package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// canaries are 40 variables that ComfyUI must not see, each with a value of its
// own: ours, the platform's, and others that hold a value of ours.
func canaries() []string {
	names := []string{
		"RUNPOD_AI_API_KEY", "RUNPOD_API_KEY", "RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT",
		"RUNPOD_WEBHOOK_POST_STREAM", "RUNPOD_WEBHOOK_PING", "RUNPOD_WEBHOOK_JOB_STOP", "RUNPOD_WEBHOOK_",
		"BUCKET_ENDPOINT_URL", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY", "BUCKET_NAME", "BUCKET_PREFIX",
		"BUCKET_KEY_TEMPLATE", "BUCKET_PUBLIC_URL", "BUCKET_ADDRESSING_STYLE", "BUCKET_PRESIGN_EXPIRY", "BUCKET_X",
		"COMFY_ORG_API_KEY", "API_TOKEN", "RUNPOD_POD_TOKEN", "RUNPOD_REALTIME_KEY", "RUNPOD_S3_SECRET",
		"RUNPOD_DB_PASSWORD", "RUNPOD_CREDENTIALS", handoverName, "PYTHONUNBUFFERED", sessionName,
	}
	var all []string
	for _, n := range names {
		all = append(all, n+"=https://canary.test/"+n)
	}
	for i, s := range []string{
		"AWS_SECRET_ACCESS_KEY=https://canary.test/BUCKET_SECRET_ACCESS_KEY",
		"AWS_ACCESS_KEY_ID=https://canary.test/BUCKET_ACCESS_KEY_ID",
		"S3_SECRET_KEY=https://canary.test/BUCKET_SECRET_ACCESS_KEY",
		"MY_CURL=curl -H 'Authorization: https://canary.test/RUNPOD_AI_API_KEY' x",
		"KEY=https://canary.test/COMFY_ORG_API_KEY",
		"WEB_TOKEN=https://canary.test/API_TOKEN",
	} {
		all = append(all, s, fmt.Sprintf("COPY_%d=%s", i, s))
	}
	return all
}

// harmless are 160 variables that ComfyUI is given by default, the first of
// which it is given in the strict mode too.
func harmless() (needed, others []string) {
	needed = []string{
		"PATH=/usr/bin", "HOME=/root", "LANG=C.UTF-8", "LC_ALL=C", "TZ=UTC", "LD_LIBRARY_PATH=/x", "LD_PRELOAD=libtcmalloc.so",
		"CUDA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=all", "PYTHONPATH=/p", "PYTHONDONTWRITEBYTECODE=1",
		"PYTORCH_CUDA_ALLOC_CONF=x", "HF_HOME=/hf", "COMFY_HOME=/comfyui", "COMFY_LOG_LEVEL=DEBUG", "VIRTUAL_ENV=/v", "TMPDIR=/t",
	}
	others = []string{
		"RUNPOD_POD_ID=pod", "RUNPOD_ENDPOINT_ID=e", "RUNPOD_DC_ID=EU-RO-1", "AWS_DEFAULT_REGION=eu",
		"AWS_ACCESS_KEY_ID=node's own", "AWS_SECRET_ACCESS_KEY=node's own", "HF_TOKEN=hf_x", "CIVITAI_API_KEY=c",
		"COMFY_NODE_TOKEN=n", "HTTPS_PROXY=http://p", "WORKER=1", "API_TOKENS=x", "MY_BUCKET_NAME=x", "BUCKETS=x", "EMPTY=",
	}
	for i := len(needed) + len(others); i < 160; i++ {
		others = append(others, fmt.Sprintf("USER_VARIABLE_%d=value %d", i, i))
	}
	return needed, others
}

// ComfyUI is given what nodes may need, and nothing that only we need: not by
// name, not under another name, and in the strict mode nothing but what is
// known to be needed.
func TestFault_X1_ComfyUIIsNotGivenOurSecrets(t *testing.T) {
	secrets := canaries()
	needed, others := harmless()
	environ := slices.Concat(others[:50], secrets, needed, others[50:])
	if len(secrets) != 40 || len(environ) != 200 {
		t.Fatalf("%d canaries among %d names, want 40 among 200", len(secrets), len(environ))
	}
	// The copies of AWS_* with values of our own come under the same names as
	// those of the nodes: only the values tell them apart.
	cfg, _ := configFromEnv(environ)
	got := comfyEnv(environ, cfg, "")
	if diff := cmp.Diff(slices.Concat(others[:50], needed, others[50:]), got); diff != "" {
		t.Errorf("by default (-want +got):\n%s", diff)
	}
	cfg.Comfy.EnvStrict = true
	if diff := cmp.Diff(needed, comfyEnv(environ, cfg, "")); diff != "" {
		t.Errorf("strict (-want +got):\n%s", diff)
	}
}

// The filter, turned off, lets canaries through: the test above can fail.
func TestUnfilteredEnvironmentHasTheCanaries(t *testing.T) {
	environ := canaries()
	var cfg Config
	for _, s := range environ {
		name, _, _ := strings.Cut(s, "=")
		cfg.Comfy.EnvPass = append(cfg.Comfy.EnvPass, name)
	}
	if got := comfyEnv(environ, cfg, ""); len(got) != len(environ)-1 { // the session is never inherited
		t.Errorf("%d of %d canaries come through, want all but one", len(got), len(environ))
	}
}

func TestComfyEnv(t *testing.T) {
	tests := []struct {
		name    string
		environ []string
		pass    []string
		strict  bool
		session string
		want    []string
	}{
		{name: "empty is not nil", want: []string{}},
		{name: "exception for one of ours", environ: []string{"BUCKET_NAME=b", "BUCKET_PREFIX=p", "PYTHONUNBUFFERED=1"},
			pass: []string{"BUCKET_NAME", "PYTHONUNBUFFERED"}, want: []string{"BUCKET_NAME=b", "PYTHONUNBUFFERED=1"}},
		{name: "exception in the strict mode", environ: []string{"HF_TOKEN=t", "HF_OTHER=o"},
			pass: []string{"HF_TOKEN"}, strict: true, want: []string{"HF_TOKEN=t"}},
		{name: "strict keeps out what looks secret", environ: []string{"COMFY_X_TOKEN=t", "COMFY_X=x", "CUDA_LICENSE_KEY=k"},
			strict: true, want: []string{"COMFY_X=x"}},
		{name: "session replaces an inherited one", environ: []string{sessionName + "=/old", "A=1"},
			session: "/run/reboot", want: []string{"A=1", sessionName + "=/run/reboot"}},
		{name: "short values prove nothing", environ: []string{"BUCKET_SECRET_ACCESS_KEY=short", "A=short"},
			want: []string{"A=short"}},
		{name: "odd entries", environ: []string{"=C:", "NOVALUE", "A=b=c"}, want: []string{"=C:", "NOVALUE", "A=b=c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Comfy: ComfyConfig{EnvPass: tt.pass, EnvStrict: tt.strict}}
			if diff := cmp.Diff(tt.want, comfyEnv(tt.environ, cfg, tt.session)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
