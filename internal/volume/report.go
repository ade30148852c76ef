package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mistakes returns what is likely to be wrong with where models lie. The report
// is complete but for them.
func (l *looker) mistakes() (found []string) {
	r := l.report
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if !r.Mounted {
		say("%s is a plain folder of the container and no mounted volume: what is stored there is gone with the container", r.Path)
	}
	right := filepath.Join(r.Path, "models")
	wrong := make(map[string]bool)
	models := 0
	for _, f := range r.Folders {
		models += f.Count
		in := filepath.Dir(f.Dir)
		if kind := meant(f.Name); kind != "" {
			say("%s: ComfyUI looks for such models in a folder named %s; rename it, or set EXTRA_MODEL_PATHS=auto", f.Dir, kind)
		}
		if in == right || wrong[in] || f.Count == 0 {
			continue
		}
		wrong[in] = true
		if in == filepath.Join(right, "models") {
			say("models lie in %s, one models too deep: move them up to %s, or set EXTRA_MODEL_PATHS=auto", in, right)
		} else {
			say("models lie in %s; the usual model path file leads to %s: move them there, or set EXTRA_MODEL_PATHS=auto", in, right)
		}
	}
	if models == 0 {
		say("there are no models: put them into %s/checkpoints, %s/loras and so on%s", right, right, inside(r.Path))
	}
	return found
}

// inside tells what is in a directory instead.
func inside(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return ""
	}
	var names []string
	for _, e := range entries[:min(len(entries), 10)] {
		names = append(names, fmt.Sprintf("%q", e.Name()))
	}
	return "; what is there: " + strings.Join(names, ", ")
}

// Lines is the report for people, one line for each thing found.
func (r Report) Lines() (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch {
	case !r.There && r.Cut == "":
		say("%s: not there", r.Path)
	case r.There && r.Mounted:
		say("%s: mounted, %s free of %s", r.Path, Size(r.Free), Size(r.Size))
	case r.There:
		say("%s: there, not mounted, %s free of %s", r.Path, Size(r.Free), Size(r.Size))
	}
	for _, f := range r.Folders {
		say("%s: %d files, %s", f.Dir, f.Count, Size(f.Bytes))
		for _, file := range f.Files {
			say("%s: %q, %s", f.Dir, file.Name, Size(file.Bytes))
		}
		if more := f.Count - len(f.Files); more > 0 {
			say("%s: and %d smaller ones", f.Dir, more)
		}
	}
	for _, i := range r.Ignored[:min(len(r.Ignored), maxListed)] {
		say("of no use: %q, %s: %s", i.Path, Size(i.Bytes), i.Why)
	}
	if more := len(r.Ignored) - maxListed; more > 0 {
		say("of no use: and %d more", more)
	}
	for _, m := range r.Mistakes {
		say("likely mistake: %s", m)
	}
	if r.Cut != "" {
		say("%s: not all was looked at: %s", r.Path, r.Cut)
	}
	return lines
}

// Size is a number of bytes as people read it.
func Size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}
