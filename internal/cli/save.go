package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/comfyvisor/comfyvisor/internal/jobclient"
)

// save writes a file of a job into a directory and returns its path. Nothing that
// is there already is overwritten: the file is then called name-2 and so on. What
// could not be written whole is not left there.
func save(ctx context.Context, c *jobclient.Client, j *jobclient.Job, f jobclient.File, dir string) (path string, size int64, err error) {
	content, err := c.Open(ctx, j, f)
	if err != nil {
		return "", 0, err
	}
	defer content.Close()
	out, err := create(dir, fileName(f.Name))
	if err != nil {
		return "", 0, err
	}
	size, err = io.Copy(out, content)
	if err == nil && f.Size >= 0 && size != f.Size {
		err = fmt.Errorf("%d of %d bytes came", size, f.Size)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return "", 0, errors.Join(fmt.Errorf("save %s: %w", plain(f.Name), err), os.Remove(out.Name()))
	}
	return out.Name(), size, nil
}

// create makes a new file.
func create(dir, name string) (*os.File, error) {
	ext := filepath.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	for n := 1; ; n++ {
		if n > 1 {
			name = fmt.Sprintf("%s-%d%s", stem, n, ext)
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

const longestName = 200 // bytes, with room for a number

// fileName makes a name for a file of this machine of what a server called it.
func fileName(foreign string) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, plain(foreign))
	name = strings.TrimLeft(name, ". ")
	for len(name) > longestName {
		ext := filepath.Ext(name)
		if len(ext) > 20 {
			ext = ""
		}
		stem := strings.TrimSuffix(name, ext)
		for len(stem)+len(ext) > longestName {
			_, n := utf8.DecodeLastRuneInString(stem)
			stem = stem[:len(stem)-n]
		}
		name = stem + ext
	}
	if name == "" {
		return "output"
	}
	return name
}
