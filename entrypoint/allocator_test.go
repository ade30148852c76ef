package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAllocatorIsPreloadedWhereItIs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files []string
		env   []string
		want  []string
	}{
		{"not installed", nil, []string{"A=1"}, []string{"A=1"}},
		{"Debian's minimal one", []string{"usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"}, []string{"A=1"},
			[]string{"A=1", "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"}},
		{"the whole one comes first", []string{"usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4", "usr/lib64/libtcmalloc.so.4"}, nil,
			[]string{"LD_PRELOAD=/usr/lib64/libtcmalloc.so.4"}},
		{"the one without a number is for compilers", []string{"usr/lib/libtcmalloc.so"}, []string{"A=1"}, []string{"A=1"}},
		{"the user's own is kept", []string{"usr/lib/libtcmalloc.so.4"}, []string{"LD_PRELOAD=/opt/libjemalloc.so"}, []string{"LD_PRELOAD=/opt/libjemalloc.so"}},
		{"an empty one is none", []string{"usr/lib/libtcmalloc.so.4"}, []string{"LD_PRELOAD="}, []string{"LD_PRELOAD=", "LD_PRELOAD=/usr/lib/libtcmalloc.so.4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, name := range tt.files {
				writeFile(t, filepath.Join(root, name), "")
			}
			if diff := cmp.Diff(tt.want, withAllocator(tt.env, root)); diff != "" {
				t.Errorf("with %v (-want +got):\n%s", tt.files, diff)
			}
		})
	}
}

// writeFile writes a file and makes the directories on the way to it.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
