package worker

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// An output that is reported under a name which leads out of the output directory, or that is a link or no plain file, is refused and never delivered.
func TestFault_X5_OutputsThatLeadElsewhere(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "environ")
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(secret, []byte("KEY=1"), 0o600),
		os.WriteFile(filepath.Join(dir, "own.png"), []byte("picture"), 0o600),
		os.WriteFile(filepath.Join(dir, "other.png"), []byte("another job's"), 0o600),
		os.Mkdir(filepath.Join(dir, "folder"), 0o700),
		os.Symlink(secret, filepath.Join(dir, "out.png")),
		os.Symlink("/proc/1/environ", filepath.Join(dir, "magic.png")),
		os.Symlink("own.png", filepath.Join(dir, "inside.png")),
		os.Symlink(outside, filepath.Join(dir, "way")),
		os.Link(filepath.Join(dir, "other.png"), filepath.Join(dir, "second-name.png")),
		unix.Mkfifo(filepath.Join(dir, "pipe.png"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"../environ", "../../etc/passwd", "/etc/passwd", secret, "folder/../../environ", "way/environ",
		"out.png", "magic.png", "inside.png", "second-name.png", "folder", "pipe.png",
	} {
		if _, _, err := localContent(dir, name); !errors.Is(err, errPathRefused) {
			t.Errorf("%s: %v, want %v", name, err, errPathRefused)
		}
	}
	if _, _, err := localContent(dir, "missing.png"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v, want %v", err, fs.ErrNotExist)
	}
	content, _, err := localContent(dir, "own.png")
	if err != nil {
		t.Fatal(err)
	}
	f, err := content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if raw, err := io.ReadAll(f); err != nil || string(raw) != "picture" {
		t.Errorf("own.png: %q, %v", raw, err)
	}
	// A file that is exchanged for a link after it was found is refused when it is read.
	if err := errors.Join(os.Remove(filepath.Join(dir, "own.png")), os.Symlink(secret, filepath.Join(dir, "own.png"))); err != nil {
		t.Fatal(err)
	}
	if f, err := content.Open(); err == nil {
		f.Close()
		t.Error("the link that took the file's place was opened")
	}
}
