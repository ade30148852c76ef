// Package spool keeps bytes for a while: in memory while there are few of them,
// and beyond that in a file that has no name, which the system removes by itself
// when it is closed, or when the program ends in whatever way.
package spool

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A File is written first and read then, as often as needed. Only one goroutine
// may write, and none while another one calls Reader.
type File struct {
	dir    string
	memory int
	few    []byte
	file   *os.File // nil while they are few
	size   int64
}

// New returns an empty file. It keeps up to memory bytes in memory; more of them
// go to dir, which is made when it is needed.
func New(dir string, memory int) *File { return &File{dir: dir, memory: memory} }

// Size is the number of bytes written.
func (f *File) Size() int64 { return f.size }

// Write appends p. After an error, Cut makes the file whole again.
func (f *File) Write(p []byte) (int, error) {
	if f.file == nil && len(f.few)+len(p) <= f.memory {
		f.few = append(f.few, p...)
		f.size += int64(len(p))
		return len(p), nil
	}
	if err := f.move(); err != nil {
		return 0, err
	}
	n, err := f.file.WriteAt(p, f.size)
	f.size += int64(n)
	return n, err
}

// move takes the bytes from memory to a file.
func (f *File) move() error {
	if f.file != nil {
		return nil
	}
	file, err := Unnamed(f.dir)
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(f.few, 0); err != nil {
		file.Close()
		return err
	}
	f.file, f.few = file, nil
	return nil
}

// Unnamed makes a file in dir, for its owner alone, that has no name any more. An
// empty dir is the system's for temporary files.
func Unnamed(dir string) (*os.File, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	place := dir
	if place == "" {
		place = os.TempDir()
	}
	// In one step where the file system can do that: NFS, FUSE and older overlays cannot.
	if file, err := os.OpenFile(place, unix.O_TMPFILE|os.O_RDWR, 0o600); err == nil {
		return file, nil
	}
	return unlinked(place)
}

// unlinked makes a file and takes its name away.
func unlinked(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "spool-*") // mode 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, fmt.Errorf("unlink: %w", err)
	}
	return file, nil
}

// Cut forgets all bytes but the first size.
func (f *File) Cut(size int64) {
	if f.file != nil {
		_ = f.file.Truncate(size) // gives room back; what stays is written over
	} else {
		f.few = f.few[:size]
	}
	f.size = size
}

// Reader returns a reader of size bytes, from an offset on. Readers do not
// disturb one another, and end when the file is closed.
func (f *File) Reader(from, size int64) io.ReadSeekCloser {
	if f.file == nil {
		return reader{bytes.NewReader(f.few[from : from+size])}
	}
	return reader{io.NewSectionReader(f.file, from, size)}
}

// reader has nothing to close.
type reader struct{ io.ReadSeeker }

func (reader) Close() error { return nil }

// Close gives memory and disk back.
func (f *File) Close() error {
	f.few = nil
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
