package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

// sessionName is the variable by which ComfyUI-Manager learns that it is run by
// a supervisor: told to reboot, it leaves the file PATH.reboot behind and exits
// with 0, instead of replacing its process in place unseen.
const sessionName = "__COMFY_CLI_SESSION__"

// comfyEnv returns the environment of ComfyUI. It is environ without what only
// we need (see childFilter) and without PYTHONUNBUFFERED, which makes Python
// hold back what nodes print to stderr once ComfyUI logs to stdout. Those named
// in COMFY_ENV_PASS are given all the same. A session that is not "" becomes
// the value of __COMFY_CLI_SESSION__. The result is never nil.
func comfyEnv(environ []string, cfg Config, session string) []string {
	filter := newChildFilter(environ, cfg.Comfy.EnvStrict)
	env := make([]string, 0, len(environ)+1)
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		if name == sessionName {
			continue
		}
		if slices.Contains(cfg.Comfy.EnvPass, name) || name != "PYTHONUNBUFFERED" && filter.gives(name, value) {
			env = append(env, s)
		}
	}
	if session != "" {
		env = append(env, sessionName+"="+session)
	}
	return env
}

// A childFilter decides which variables ComfyUI, and so every custom node, is
// given. By default all but ours are: nodes need variables that nobody can list.
// AWS credentials are given too, because nodes use them and we do not, unless
// they have the values of our own or stand in for them. The strict filter gives only those that are
// known to be needed and do not look like a secret.
type childFilter struct {
	strict bool
	values []string // of our own secrets
}

// newChildFilter takes the values of our secrets from environ.
func newChildFilter(environ []string, strict bool) childFilter {
	f := childFilter{strict: strict}
	given := make(map[string]string)
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		given[name] = strings.TrimSpace(value)
	}
	adopted := adopt(given)
	ours := make(map[string]bool)
	for _, v := range variables() {
		ours[cmp.Or(adopted[v.Name], v.Name)] = v.kind == secretKind
	}
	for _, s := range environ {
		name, value, _ := strings.Cut(s, "=")
		if value = strings.TrimSpace(value); ours[name] && len(value) >= secret.MinLength {
			f.values = append(f.values, value)
		}
	}
	return f
}

func (f childFilter) gives(name, value string) bool {
	if f.hides(name, value) {
		return false
	}
	return !f.strict || slices.ContainsFunc(strictNames, func(p string) bool { return matches(p, name) })
}

// hides tells whether the variable must not be where ComfyUI could read it.
func (f childFilter) hides(name, value string) bool {
	if slices.ContainsFunc(ourNames, func(p string) bool { return matches(p, name) }) {
		return true
	}
	if (f.strict || strings.HasPrefix(name, "RUNPOD_")) && looksSecret(name) {
		return true
	}
	return slices.ContainsFunc(f.values, func(s string) bool { return strings.Contains(value, s) })
}

// ourNames are what only we need. A star at the end stands for anything.
var ourNames = []string{
	"RUNPOD_AI_API_KEY", "RUNPOD_API_KEY", "RUNPOD_WEBHOOK_*", "BUCKET_*",
	"COMFY_ORG_API_KEY", "API_TOKEN", "WEBHOOK_SECRET", handoverName,
}

// strictNames are what Python, CUDA and ComfyUI need.
var strictNames = []string{
	"PATH", "HOME", "USER", "SHELL", "TERM", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*",
	"LD_*", "PYTHON*", "VIRTUAL_ENV", "CUDA_*", "NVIDIA_*", "TORCH_*", "PYTORCH_*",
	"OMP_NUM_THREADS", "HF_HOME", "COMFY*",
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// looksSecret tells whether a name is one that people give to secrets.
func looksSecret(name string) bool {
	name = strings.ToUpper(name)
	for _, word := range []string{"KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
