package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// soakCanary is in each secret that the soak makes up, and in nothing else.
const soakCanary = "soak_canary"

// soakKey is the queue's key, which must never be told.
const soakKey = "rpa_" + soakCanary + "_0123456789"

// soakCanaries are further secrets that the pods are given, by variable.
func soakCanaries() map[string]string {
	return map[string]string{
		"COMFY_ORG_API_KEY": soakCanary + "_org_0123456789",
		"RUNPOD_API_KEY":    soakCanary + "_account_0123456789",
		"API_TOKEN":         soakCanary + "_token_0123456789",
	}
}

// secret tells whether text has a secret in it.
func (s *soak) secret(text []byte) bool {
	return bytes.Contains(text, []byte(soakCanary)) || s.bucket != nil && bytes.Contains(text, []byte(s.bucket.SecretKey))
}

// lookForSecrets searches what others than comfyvisor may read while it runs: the
// environments and command lines of its processes, and all files of the pod.
func (s *soak) lookForSecrets() {
	s.t.Helper()
	for _, p := range s.processes() {
		for _, name := range []string{"environ", "cmdline"} {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.pid, name)) // or it has ended
			if s.secret(text) {
				s.wrong(soakSecret, "the %s of process %d, %s, tells a secret", name, p.inside, p.name)
			}
		}
	}
	err := filepath.WalkDir(s.inside("."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it has just gone
		}
		if text, _ := os.ReadFile(path); s.secret(text) {
			s.wrong(soakSecret, "the file %s tells a secret", path)
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
}

// unrushed looks whether ComfyUI was asked too often while it failed.
func (s *soak) unrushed(ledger comfytest.Ledger) {
	s.t.Helper()
	for _, what := range ledger.Rushed {
		s.wrong(soakCalls, "ComfyUI: %s", what)
	}
}
