package s3store

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A section is a stretch of a file that can be read again and again, of which
// nothing is kept in memory: going back means to open the file anew. It has to
// be closed.
type section struct {
	content     job.Content
	start, size int64
	pos         int64         // of the next byte, counted from start
	file        io.ReadCloser // nil until it is read from pos on
}

// A sourceError is a fault of the file, not of the store.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read the file: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func (s *section) Read(p []byte) (int, error) {
	left := s.size - s.pos
	if left == 0 {
		return 0, io.EOF
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return 0, &sourceError{err}
		}
	}
	n, err := s.file.Read(p[:min(int64(len(p)), left)])
	s.pos += int64(n)
	switch {
	case err == io.EOF && s.pos < s.size:
		err = &sourceError{fmt.Errorf("it is %d bytes shorter than it was: %w", s.size-s.pos, io.ErrUnexpectedEOF)}
	case err != nil && err != io.EOF:
		err = &sourceError{err}
	}
	return n, err
}

// open opens the file at pos, by reading up to there if it cannot seek.
func (s *section) open() error {
	file, err := s.content.Open()
	if err != nil {
		return err
	}
	if at := s.start + s.pos; at > 0 {
		if seeker, ok := file.(io.Seeker); ok {
			_, err = seeker.Seek(at, io.SeekStart)
		} else {
			_, err = io.CopyN(io.Discard, file, at)
		}
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s.file = file
	return nil
}

// Seek moves to a place in the section; the SDK asks for its size in this way.
func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 || offset > s.size {
		return 0, fmt.Errorf("seek to %d in a section of %d bytes", offset, s.size)
	}
	if offset == s.pos {
		return offset, nil
	}
	s.pos = offset
	return offset, s.Close()
}

// Close releases the file; a later read opens it again.
func (s *section) Close() error {
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return file.Close()
}

// digests are the hashes of a section, in hexadecimal.
type digests struct {
	sha256 string // signed with the request, so that the store checks it
	md5    string // what most stores answer as ETag
}

// digest reads the section through and goes back to its start.
func (s *section) digest() (digests, error) {
	sha, sum := sha256.New(), md5.New()
	if _, err := io.Copy(io.MultiWriter(sha, sum), s); err != nil {
		return digests{}, err
	}
	_, err := s.Seek(0, io.SeekStart)
	return digests{hex.EncodeToString(sha.Sum(nil)), hex.EncodeToString(sum.Sum(nil))}, err
}
