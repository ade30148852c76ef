package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxEntries = 20_000 // looked at
	maxListed  = 20     // files named for each folder, and ignored ones in all
)

// A Report is what was found on a volume.
type Report struct {
	Path    string   `json:"path"`
	There   bool     `json:"there"`
	Mounted bool     `json:"mounted"` // it is a filesystem of its own
	Free    int64    `json:"free_bytes"`
	Size    int64    `json:"size_bytes"`
	Folders []Folder `json:"folders,omitempty"`
	// Ignored are files that ComfyUI will not list, or not be able to load.
	Ignored []Ignored `json:"ignored,omitempty"`
	// Mistakes are what is likely to be wrong, with what to do about it.
	Mistakes []string `json:"mistakes,omitempty"`
	// Cut says why the rest was not looked at, "" if all was.
	Cut string `json:"cut,omitempty"`
}

// A Folder is a folder of models.
type Folder struct {
	Name  string `json:"name"`
	Dir   string `json:"dir"`
	Count int    `json:"count"`
	Bytes int64  `json:"bytes"`
	Files []File `json:"files,omitempty"` // the largest
}

// A File is a model.
type File struct {
	Name  string `json:"name"` // as workflows name it
	Bytes int64  `json:"bytes"`
}

// Ignored is a file that is of no use where it is.
type Ignored struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	Why   string `json:"why"`
}

// Look returns a report of the volume at path, made within limit.
func Look(path string, limit time.Duration) Report {
	l := &looker{report: Report{Path: path}, deadline: time.Now().Add(limit)}
	_, err := within(limit, func() (struct{}, error) { return struct{}{}, l.look() })
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Folders, r.Ignored, r.Mistakes = slices.Clone(r.Folders), slices.Clone(r.Ignored), slices.Clone(r.Mistakes)
	l.over = true
	if err != nil {
		r.Cut = err.Error()
	}
	return r
}

// A looker makes a report. When time is over it may still be at work, on a
// report that nobody reads any more.
type looker struct {
	deadline time.Time
	entries  int

	mu     sync.Mutex // guards what follows
	report Report
	over   bool
}

// tell changes the report.
func (l *looker) tell(change func(r *Report)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		change(&l.report)
	}
}

func (l *looker) look() error {
	path := l.report.Path
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		l.tell(func(r *Report) {
			r.Mistakes = append(r.Mistakes, fmt.Sprintf("%s is not there: attach a network volume, or set RUNPOD_VOLUME_PATH to where it is mounted", path))
		})
		return nil
	}
	mounted, free, size := mount(path)
	l.tell(func(r *Report) { r.There, r.Mounted, r.Free, r.Size = true, mounted, free, size })
	for _, r := range roots {
		if err := l.lookIn(r); err != nil {
			return err
		}
	}
	mistakes := l.mistakes()
	l.tell(func(r *Report) { r.Mistakes = append(r.Mistakes, mistakes...) })
	return nil
}

// mount tells whether path is a filesystem of its own, and its room.
func mount(path string) (mounted bool, free, size int64) {
	var here, above unix.Stat_t
	if unix.Stat(path, &here) == nil && unix.Stat(filepath.Join(path, ".."), &above) == nil {
		mounted = here.Dev != above.Dev
	}
	var st unix.Statfs_t
	if unix.Statfs(path, &st) == nil {
		free, size = int64(st.Bavail)*st.Frsize, int64(st.Blocks)*st.Frsize
	}
	return mounted, free, size
}

// lookIn looks into the folders of one root, and at models that lie in none.
func (l *looker) lookIn(r root) error {
	places, err := r.find(l.report.Path)
	if err != nil {
		return err
	}
	for _, p := range places {
		f, ignored, err := l.walk(p)
		l.tell(func(r *Report) {
			r.Folders = append(r.Folders, f)
			r.Ignored = append(r.Ignored, ignored...)
		})
		if err != nil {
			return err
		}
	}
	dir := filepath.Join(l.report.Path, r.dir)
	entries, _ := os.ReadDir(dir) // find has read it, or it is not there
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err == nil && info.Mode().IsRegular() && slices.Contains(weights, strings.ToLower(filepath.Ext(e.Name()))) {
			l.tell(func(r *Report) {
				r.Ignored = append(r.Ignored, Ignored{filepath.Join(dir, e.Name()), info.Size(), "it lies in no folder of a kind, such as checkpoints or loras"})
			})
		}
	}
	return nil
}

// walk looks at the files of one folder.
func (l *looker) walk(p Place) (f Folder, ignored []Ignored, err error) {
	f = Folder{Name: p.Folder, Dir: p.Dir}
	dir, err := filepath.EvalSymlinks(p.Dir) // WalkDir follows none
	if err != nil {
		return f, nil, nil // it went away
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if l.entries++; l.entries > maxEntries {
			return fmt.Errorf("there are more than %d files", maxEntries)
		}
		if time.Now().After(l.deadline) {
			return errors.New("the time was over")
		}
		switch {
		case err != nil:
			return nil // what cannot be read, ComfyUI cannot either
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.IsDir(), d.Name()[0] == '.':
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		info, err := os.Stat(path)
		if err != nil {
			ignored = append(ignored, Ignored{filepath.Join(p.Dir, name), 0, "it is a link that leads nowhere"})
			return nil
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		listed, why := judge(p.Folder, name, info.Size())
		if listed {
			f.Count++
			f.Bytes += info.Size()
			f.Files = append(f.Files, File{name, info.Size()})
		}
		if why != "" {
			ignored = append(ignored, Ignored{filepath.Join(p.Dir, name), info.Size(), why})
		}
		return nil
	})
	slices.SortStableFunc(f.Files, func(a, b File) int { return int(min(max(b.Bytes-a.Bytes, -1), 1)) })
	f.Files = f.Files[:min(len(f.Files), maxListed)]
	return f, ignored, err
}
