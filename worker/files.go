package worker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/media"
)

var (
	// errNoDirectory means that ComfyUI's directory cannot be read from here.
	errNoDirectory = errors.New("the directory is not ours to read")
	// errPathRefused means that a name leads somewhere it must not.
	errPathRefused = errors.New("it is not a plain file inside ComfyUI's output directory")
)

// localContent is the content of a regular file below dir, and what it is. A name
// that leaves dir, a link, or anything else than a plain file of one name is refused: a
// node may have put it there to show us another job's picture, or our memory.
func localContent(dir, name string) (c job.Content, what media.Info, err error) {
	f, err := openBelow(dir, name)
	if err != nil {
		return c, what, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return c, what, err
	}
	c = job.Content{Size: info.Size(), Open: func() (io.ReadCloser, error) { return openBelow(dir, name) }}
	return c, media.Look(f, info.Size()), nil
}

func openBelow(dir, name string) (*os.File, error) {
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	found, err := root.Lstat(name)
	if err != nil {
		return nil, refusedOr(err)
	}
	if !found.Mode().IsRegular() {
		return nil, fmt.Errorf("%w (%v)", errPathRefused, found.Mode())
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, refusedOr(err)
	}
	opened, err := f.Stat()
	if err == nil && (!os.SameFile(found, opened) || names(opened) > 1) {
		err = errPathRefused
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// names is how many names a file has. Some network volumes tell 0.
func names(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

// refusedOr returns err, as errPathRefused when it is none of the errors that
// honest names meet.
func refusedOr(err error) error {
	for _, honest := range []error{fs.ErrNotExist, fs.ErrPermission, syscall.EIO, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, honest) {
			return err
		}
	}
	return fmt.Errorf("%w (%v)", errPathRefused, err)
}

func openRoot(dir string) (*os.Root, error) {
	if dir == "" {
		return nil, errNoDirectory
	}
	root, err := os.OpenRoot(dir)
	switch {
	case noDescriptors(err):
		return nil, err // it may well be ours
	case err != nil:
		return nil, fmt.Errorf("%w: %v", errNoDirectory, err)
	}
	return root, nil
}

// localFiles are the names, below dir, of all regular files in folder and the
// folders below it, in order. A folder that is not there has none.
func localFiles(dir, folder string) ([]string, error) {
	root, err := openRoot(dir)
	switch {
	case errors.Is(err, errNoDirectory):
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer root.Close()
	var names []string
	err = fs.WalkDir(root.FS(), folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.Type().IsRegular():
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// removeLocal removes what is called name below dir, with all that is in it.
func removeLocal(dir, name string) error {
	root, err := openRoot(dir)
	switch {
	case noDescriptors(err):
		return err
	case err != nil:
		return nil
	}
	defer root.Close()
	return root.RemoveAll(name)
}

// noDescriptors tells whether this process, or the machine, has too many files
// open. That may pass.
func noDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
