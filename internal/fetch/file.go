package fetch

import (
	"io"
	"os"

	"github.com/comfyvisor/comfyvisor/internal/spool"
)

// A File is a downloaded file. It takes room on disk until it is closed.
type File struct {
	Size int64
	file *os.File
}

// newFile makes an empty file in dir that has no name there any more.
func newFile(dir string) (*File, error) {
	f, err := spool.Unnamed(dir)
	if err != nil {
		return nil, err
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
