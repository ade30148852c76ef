package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/comfyvisor/comfyvisor/internal/jobclient"
)

func TestFileNames(t *testing.T) {
	for foreign, want := range map[string]string{
		"a.png":                           "a.png",
		"../../etc/passwd":                "_.._etc_passwd",
		`..\..\x`:                         `_.._x`,
		"/abs":                            "_abs",
		".hidden":                         "hidden",
		"":                                "output",
		"...":                             "output",
		"a\x00\n\x1b[31mb.png":            "a[31mb.png",
		"猫.png":                           "猫.png",
		strings.Repeat("x", 300) + ".png": strings.Repeat("x", 196) + ".png",
		strings.Repeat("猫", 100):          strings.Repeat("猫", 66),
	} {
		if got := fileName(foreign); got != want {
			t.Errorf("%q: got %q, want %q", foreign, got, want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	f.Add("../x")
	f.Add("\xff/\x00")
	f.Fuzz(func(t *testing.T, foreign string) {
		name := fileName(foreign)
		if name == "" || len(name) > longestName || name != filepath.Base(name) || name[0] == '.' || !utf8.ValidString(name) {
			t.Errorf("%q became %q", foreign, name)
		}
	})
}

// Nothing that is there is written over.
func TestCreateFindsAFreeName(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{"a.png", "a-2.png", "a-3.png"} {
		f, err := create(dir, "a.png")
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(f.Name()) != want {
			t.Errorf("got %s, want %s", f.Name(), want)
		}
		_ = f.Close()
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	f, err := create(dir, "link")
	if err != nil || filepath.Base(f.Name()) != "link-2" {
		t.Errorf("a link was followed: %v", err)
	}
	_ = f.Close()
}

func TestMeter(t *testing.T) {
	jobs := []jobclient.Job{
		{State: jobclient.Queued},
		{State: jobclient.Running},
		{State: jobclient.Running, Progress: &jobclient.Progress{Phase: "execute", Class: "KSampler", Percent: 10}},
		{State: jobclient.Running, Progress: &jobclient.Progress{Phase: "execute", Class: "KSampler", Percent: 55.5, Step: 11, Steps: 20, Left: 3.2}},
		{State: jobclient.Running, Progress: &jobclient.Progress{Phase: "execute", Class: "VAEDecode", Title: "De\x1bcode", Percent: 180, Attempt: 2}},
	}
	tests := []struct {
		name string
		m    meter
		want string
	}{
		{"no terminal", meter{}, "  0 % waiting in the queue\n  0 % running\n 10 % KSampler\n100 % Decode (attempt 2)\n"},
		{"quiet", meter{quiet: true, width: 80}, ""},
		{"terminal", meter{width: 60}, "░░░░░░░░░░░░░░░░░░░░░░░░   0 %  waiting in the queue" +
			"\r\x1b[K░░░░░░░░░░░░░░░░░░░░░░░░   0 %  running" +
			"\r\x1b[K██░░░░░░░░░░░░░░░░░░░░░░  10 %  KSampler" +
			"\r\x1b[K█████████████░░░░░░░░░░░  55 %  KSampler  11/20  4s left" +
			"\r\x1b[K████████████████████████ 100 %  Decode (attempt 2)\r\x1b[K"},
		{"narrow", meter{width: 40}, "░░░░░░░░░░░░░░░░░░░░░░░░   0 %  waitin…" +
			"\r\x1b[K░░░░░░░░░░░░░░░░░░░░░░░░   0 %  running" +
			"\r\x1b[K██░░░░░░░░░░░░░░░░░░░░░░  10 %  KSampl…" +
			"\r\x1b[K█████████████░░░░░░░░░░░  55 %  KSampl…" +
			"\r\x1b[K████████████████████████ 100 %  Decode…\r\x1b[K"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			tt.m.w = &b
			for _, j := range jobs {
				tt.m.show(&j)
			}
			tt.m.clear()
			if b.String() != tt.want {
				t.Errorf("got  %q\nwant %q", b.String(), tt.want)
			}
		})
	}
}
