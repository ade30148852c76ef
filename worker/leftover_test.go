package worker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// longAgo is when leftovers of the tests changed last.
func longAgo() time.Time { return time.Now().Add(-2 * leftoverAge) }

// putOld writes a file that has, as its folder, not changed since.
func putOld(t *testing.T, dir, name string, at time.Time) {
	t.Helper()
	path := filepath.Join(dir, name)
	for _, err := range []error{os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o644),
		os.Chtimes(path, at, at), os.Chtimes(filepath.Dir(path), at, at)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Of what lies in ComfyUI's directories, only old folders and inputs that bear
// names of ours are removed, and not those in use.
func TestLeftoversAreOldAndOurs(t *testing.T) {
	s := &Slot{OutputDir: t.TempDir(), InputDir: t.TempDir()}
	running := newAttempt("running", 1)
	s.volume.keep(running.id)
	crashed, fresh := newAttempt("crashed", 1), newAttempt("fresh", 1)
	putOld(t, s.OutputDir, crashed.folder+"/a.png", longAgo())
	putOld(t, s.OutputDir, running.folder+"/a.png", longAgo())
	putOld(t, s.OutputDir, fresh.folder+"/a.png", time.Now())
	putOld(t, s.OutputDir, "comfyvisor/notes/a.png", longAgo())
	putOld(t, s.OutputDir, "a.png", longAgo())
	putOld(t, s.InputDir, crashed.prefix+"in.png", longAgo())
	putOld(t, s.InputDir, running.prefix+"in.png", longAgo())
	putOld(t, s.InputDir, "3d/in.png", longAgo())
	putOld(t, s.InputDir, "in.png", longAgo())

	removed, err := removeLeftovers(s.leftovers(s.volume.inUse), s.volume.inUse)
	if removed != 2 || err != nil {
		t.Errorf("removed %d (%v), want 2", removed, err)
	}
	want := []string{"a.png", fresh.folder + "/a.png", running.folder + "/a.png", "comfyvisor/notes/a.png"}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), below(t, s.OutputDir)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	want = []string{"3d/in.png", running.prefix + "in.png", "in.png"}
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), below(t, s.InputDir)); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
}

// What was found to be left behind and has come into use since, or has changed, is
// not removed.
func TestLeftoversAreLookedAtAgain(t *testing.T) {
	s := &Slot{OutputDir: t.TempDir(), InputDir: t.TempDir()}
	begun, written := newAttempt("begun", 1), newAttempt("written", 1)
	putOld(t, s.OutputDir, written.folder+"/a.png", longAgo())
	putOld(t, s.InputDir, begun.prefix+"in.png", longAgo())
	list := s.leftovers(s.volume.inUse)
	if len(list) != 2 {
		t.Fatalf("leftovers are %v, want two", list)
	}
	s.volume.keep(begun.id)
	putOld(t, s.OutputDir, written.folder+"/b.png", time.Now())
	if removed, err := removeLeftovers(list, s.volume.inUse); removed != 0 || err != nil {
		t.Errorf("removed %d (%v), want none", removed, err)
	}
}

// The files of a job that takes hours stay young, so that no other pod that starts
// on the same volume takes them for leftovers.
func TestFilesAtHandDoNotGrowOld(t *testing.T) {
	mine := &Slot{OutputDir: t.TempDir(), InputDir: t.TempDir()}
	other := &Slot{OutputDir: mine.OutputDir, InputDir: mine.InputDir}
	long, crashed := newAttempt("long", 1), newAttempt("crashed", 1)
	mine.volume.keep(long.id)
	for _, a := range []*attempt{long, crashed} {
		putOld(t, mine.OutputDir, a.folder+"/a.png", longAgo())
		putOld(t, mine.InputDir, a.prefix+"in.png", longAgo())
	}
	if err := mine.freshen(time.Now()); err != nil {
		t.Fatal(err)
	}
	if removed, err := removeLeftovers(other.leftovers(other.volume.inUse), other.volume.inUse); removed != 2 || err != nil {
		t.Errorf("removed %d (%v), want 2", removed, err)
	}
	if diff := cmp.Diff([]string{long.folder + "/a.png"}, below(t, mine.OutputDir)); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{long.prefix + "in.png"}, below(t, mine.InputDir)); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
}

// A worker removes old leftovers when it starts, before it is short of room, and nothing that is young.
func TestFault_Z1_LeftoversGoAtTheStart(t *testing.T) {
	crashed, fresh := newAttempt("crashed", 1), newAttempt("fresh", 1)
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		s := c.Slots[0]
		putOld(t, s.OutputDir, crashed.folder+"/a.png", longAgo())
		putOld(t, s.OutputDir, fresh.folder+"/a.png", time.Now())
		putOld(t, s.InputDir, crashed.prefix+"in.png", longAgo())
		putOld(t, s.InputDir, fresh.prefix+"in.png", time.Now())
	})
	tick, late := time.NewTicker(5*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for waiting := true; waiting && len(below(t, p.slot.OutputDir))+len(below(t, p.slot.InputDir)) > 2; {
		select {
		case <-tick.C:
		case <-late:
			waiting = false
		}
	}
	left := slices.Concat(below(t, p.slot.OutputDir), below(t, p.slot.InputDir))
	if diff := cmp.Diff([]string{fresh.folder + "/a.png", fresh.prefix + "in.png"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// below are the names of all files below dir, in order. What goes meanwhile is not
// there.
func below(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && name != ".":
			return nil
		case err == nil && !d.IsDir():
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(names))
}
