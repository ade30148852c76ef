package spool_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/spool"
)

func read(t *testing.T, f *spool.File, from, size int64) string {
	t.Helper()
	r := f.Reader(from, size)
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Bytes are the same before and after they have moved from memory to the disk,
// where the file has no name.
func TestMoveKeepsTheBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when needed")
	f := spool.New(dir, 8)
	defer f.Close()
	for _, text := range []string{"few", "more", "a lot more", "."} {
		if n, err := io.WriteString(f, text); n != len(text) || err != nil {
			t.Fatalf("write %q: %d, %v", text, n, err)
		}
		if got := read(t, f, 0, 3); got != "few" {
			t.Errorf("after %q the first bytes are %q", text, got)
		}
		if _, err := os.Stat(dir); (err == nil) != (f.Size() > 8) {
			t.Errorf("after %d bytes the directory: %v", f.Size(), err)
		}
	}
	if got := read(t, f, 3, f.Size()-3); got != "morea lot more." {
		t.Errorf("the rest is %q", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the directory holds %v, %v; want nothing", left, err)
	}
}

func TestCutForgetsTheEnd(t *testing.T) {
	for _, memory := range []int{0, 100} {
		f := spool.New(t.TempDir(), memory)
		for _, text := range []string{"first", "broken"} {
			if _, err := io.WriteString(f, text); err != nil {
				t.Fatal(err)
			}
		}
		f.Cut(5)
		if _, err := io.WriteString(f, "second"); err != nil {
			t.Fatal(err)
		}
		if got := read(t, f, 0, f.Size()); got != "firstsecond" {
			t.Errorf("with %d bytes in memory: %q", memory, got)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A directory that cannot be made is an error of the write that needs it, and
// what was written before is still there.
func TestNoPlaceForTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := spool.New(dir, 4)
	defer f.Close()
	if _, err := io.WriteString(f, "kept"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte("x"), 10)); err == nil {
		t.Error("a write that has no place succeeds")
	}
	if got := read(t, f, 0, f.Size()); got != "kept" {
		t.Errorf("after the error the file holds %q", got)
	}
}
