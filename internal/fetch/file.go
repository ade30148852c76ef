package fetch

import (
	"fmt"
	"io"
	"os"
)

// A File is a downloaded file. It takes room on disk until it is closed.
type File struct {
	Size int64
	file *os.File
}

// newFile makes an empty file in dir that has no name there any more.
func newFile(dir string) (*File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "input-*") // for its owner alone, mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("unlink: %w", err)
	}
	return &File{file: f}, nil
}

// Open returns a new reader of the whole file. Readers do not disturb one another.
func (f *File) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(f.file, 0, f.Size)), nil
}

// Close gives the room back. No reader works any more.
func (f *File) Close() error { return f.file.Close() }

// CloseAll closes those of the files that are not nil.
func CloseAll(files []*File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // nobody reads it again
		}
	}
}
