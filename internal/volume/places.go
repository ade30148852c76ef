package volume

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Place is a folder of models.
type Place struct {
	Folder string // its name, a kind or a custom node's
	Dir    string // its path
}

// A root is a directory that may hold folders of models. Anywhere tells whether
// each folder in it is taken for one, and not only those of ComfyUI's own names.
type root struct {
	dir      string
	anywhere bool
}

// roots are where people put models on a volume, the right place first.
var roots = []root{{"models", true}, {"ComfyUI/models", true}, {"comfyui/models", true}, {"models/models", true}, {"", false}}

// Find returns the folders of models on a volume, within limit.
func Find(volume string, limit time.Duration) ([]Place, error) {
	found, err := within(limit, func() (places []Place, err error) {
		for _, r := range roots {
			more, err := r.find(volume)
			if err != nil {
				return nil, err
			}
			places = append(places, more...)
		}
		return places, nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for models on %s: %w", volume, err)
	}
	return found, nil
}

func (r root) find(volume string) (places []Place, err error) {
	dir := filepath.Join(volume, r.dir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) && r.dir != "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if (r.anywhere && named(e.Name()) || known(e.Name())) && isDir(path, e) {
			places = append(places, Place{Folder: e.Name(), Dir: path})
		}
	}
	return places, nil
}

// named tells whether a folder's name may stand in a model path file. The nested
// models are a root of their own.
func named(name string) bool {
	return name != "models" && name != "custom_nodes" && name[0] != '.' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._- ") == ""
}

// isDir tells whether an entry is a directory, or a link to one.
func isDir(path string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Paths returns the model path file for ComfyUI that names the places. Folders
// that are named like those of other programs are listed under ComfyUI's name
// as well.
func Paths(places []Place) []byte {
	dirs := make(map[string][]string)
	var order []string
	add := func(folder, dir string) {
		if dirs[folder] == nil {
			order = append(order, folder)
		}
		dirs[folder] = append(dirs[folder], dir)
	}
	for _, p := range places {
		add(key(p.Folder), p.Dir)
		if kind := meant(p.Folder); kind != "" {
			add(kind, p.Dir)
		}
	}
	if len(order) == 0 {
		return []byte("{}\n") // ComfyUI cannot read an empty file
	}
	slices.SortFunc(order, cmp.Compare[string])
	var b strings.Builder
	b.WriteString("# Written by comfyvisor at its start, from what was on the volume.\ncomfyvisor:\n")
	for _, folder := range order {
		// A JSON string is a YAML string; ComfyUI splits it into lines.
		name, _ := json.Marshal(folder)
		value, _ := json.Marshal(strings.Join(dirs[folder], "\n"))
		fmt.Fprintf(&b, "  %s: %s\n", name, value)
	}
	return []byte(b.String())
}

// Stat is os.Stat of a path that may be on a volume, within limit.
func Stat(path string, limit time.Duration) (fs.FileInfo, error) {
	return within(limit, func() (fs.FileInfo, error) { return os.Stat(path) })
}

// errSlow means that the volume did not answer in time.
var errSlow = errors.New("the volume does not answer")

// within returns what f returns, or errSlow when that takes longer than limit. An
// f that is not waited for goes on by itself. A panic of f is an error.
func within[T any](limit time.Duration, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if p := recover(); p != nil { // nobody else could
				a.err = fmt.Errorf("panic: %v", p)
			}
			done <- a
		}()
		a.value, a.err = f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case a := <-done:
		return a.value, a.err
	case <-timer.C:
		var none T
		return none, fmt.Errorf("%w within %v", errSlow, limit)
	}
}
