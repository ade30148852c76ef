package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestKeysAreAddedOnce(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, keys, want string }{
		{"the first", "", "ssh-ed25519 AAAA me", "ssh-ed25519 AAAA me\n"},
		{"several, of an environment variable", "", "ssh-ed25519 AAAA me\r\n\n ssh-rsa BBBB you \n", "ssh-ed25519 AAAA me\nssh-rsa BBBB you\n"},
		{"beside the image's own", "ssh-rsa CCCC image", "ssh-ed25519 AAAA me", "ssh-rsa CCCC image\nssh-ed25519 AAAA me\n"},
		{"there from the last start", "ssh-ed25519 AAAA me\n", "ssh-ed25519 AAAA me", "ssh-ed25519 AAAA me\n"},
		{"named twice", "", "ssh-ed25519 AAAA me\nssh-ed25519 AAAA me", "ssh-ed25519 AAAA me\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := withKeys(tt.text, tt.keys); got != tt.want {
				t.Errorf("withKeys(%q, %q) = %q, want %q", tt.text, tt.keys, got, tt.want)
			}
		})
	}
}

func TestSSHTakesKeysAlone(t *testing.T) {
	t.Parallel()
	args := sshArgs(2222, "/root/.ssh/authorized_keys", "/opt/venv/bin:/usr/bin")
	for _, want := range []string{"-D", "2222", "AuthorizedKeysFile=/root/.ssh/authorized_keys", "PasswordAuthentication=no", "KbdInteractiveAuthentication=no", "SetEnv=PATH=/opt/venv/bin:/usr/bin"} {
		if !slices.Contains(args, want) {
			t.Errorf("sshArgs = %q, want %s among them", args, want)
		}
	}
	if args = sshArgs(22, "keys", `/with space:/and "quotes"`); slices.ContainsFunc(args, func(a string) bool { return a == `SetEnv=PATH=/with space:/and "quotes"` }) {
		t.Errorf("sshArgs = %q, want no PATH that sshd would misread", args)
	}
}

func TestSSHIsFoundByItsAbsolutePath(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if got := findSSH(root); got != "" {
		t.Errorf("findSSH of an image without one = %q, want none", got)
	}
	want := filepath.Join(root, "usr/local/sbin/sshd")
	writeFile(t, want, "")
	if err := os.MkdirAll(filepath.Join(root, "usr/sbin/sshd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := findSSH(root); got != want {
		t.Errorf("findSSH = %q, want %q", got, want)
	}
}
