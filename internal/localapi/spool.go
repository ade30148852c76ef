package localapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// A document is the output of a job as JSON, in a file or in memory. It does
// not change; a nil document is none.
type document struct {
	path string // "" if it is in memory
	text []byte
	size int64
	made time.Time
}

func (d *document) onDisk() bool { return d != nil && d.path != "" }

// open returns the document as a body that can be read once, to its end even
// when the document is removed in between. The caller closes it. The error is
// errGone if the document has been removed before.
func (d *document) open() (*payload.Body, io.Closer, error) {
	if !d.onDisk() {
		r := io.NopCloser(bytes.NewReader(d.text))
		return raw(d.size, r), r, nil
	}
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errGone
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open result: %w", err)
	}
	return raw(d.size, f), f, nil
}

// at is open for who reads here and there.
func (d *document) at() (io.ReaderAt, io.Closer, error) {
	if !d.onDisk() {
		r := bytes.NewReader(d.text)
		return r, io.NopCloser(r), nil
	}
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errGone
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open result: %w", err)
	}
	return f, f, nil
}

// again returns the document as a body that can be read more than once, until the
// closer, which the caller closes, is closed.
func (d *document) again() (*payload.Body, io.Closer, error) {
	from, closer, err := d.at()
	if err != nil {
		return nil, nil, err
	}
	return payload.Raw(job.Content{Size: d.size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(from, 0, d.size)), nil
	}}), closer, nil
}

func raw(size int64, r io.ReadCloser) *payload.Body {
	return payload.Raw(job.Content{Size: size, Open: func() (io.ReadCloser, error) { return r, nil }})
}

// remove frees the file, if there is one. A file that cannot be removed stays
// until the next start.
func (d *document) remove() {
	if d.onDisk() {
		_ = os.Remove(d.path)
	}
}

// resultFiles are the names of the files in the spool directory.
const resultFiles = "result-*.json"

// A spool keeps documents in files of its directory.
type spool struct {
	dir  string // "" if there is no place for files
	keep Keep
	log  *zap.Logger
	warn sync.Once
}

// newSpool returns the spool of a directory, which exists; "" for none.
func newSpool(dir string, keep Keep, log *zap.Logger) *spool {
	return &spool{dir: dir, keep: keep, log: log}
}

// clean removes the results in the directory that nobody knows.
func (s *spool) clean(known map[string]bool) {
	if s.dir == "" {
		return
	}
	all, _ := filepath.Glob(filepath.Join(s.dir, resultFiles))
	for _, path := range all {
		if !known[path] {
			_ = os.Remove(path)
		}
	}
}

func (s *spool) useMemory(reason error) {
	s.warn.Do(func() { s.log.Warn("keeping results in memory instead of in files", zap.Error(reason)) })
}

// errTooLarge is the error of a result that is larger than all that is kept.
var errTooLarge = errors.New("the result is larger than what the local API keeps")

// put keeps what b holds: in a file, or in memory when no file can be written.
func (s *spool) put(ctx context.Context, b *payload.Body) (*document, error) {
	if s.dir != "" {
		if b.Size() > s.keep.Disk {
			return nil, fmt.Errorf("%w: it has %d bytes, at most %d are kept", errTooLarge, b.Size(), s.keep.Disk)
		}
		d, err := s.putFile(ctx, b)
		if !errors.Is(err, errUnwritable) {
			return d, err
		}
		s.useMemory(err)
	}
	if b.Size() > s.keep.Memory {
		return nil, fmt.Errorf("%w: it has %d bytes, and without a file at most %d are kept", errTooLarge, b.Size(), s.keep.Memory)
	}
	return inMemory(ctx, b)
}

// errUnwritable tells a file that cannot be written from a body that cannot be
// read.
var errUnwritable = errors.New("write result file")

func (s *spool) putFile(ctx context.Context, b *payload.Body) (*document, error) {
	f, err := os.CreateTemp(s.dir, resultFiles) // mode 0600
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnwritable, err)
	}
	d := &document{path: f.Name(), size: b.Size(), made: time.Now()}
	r := b.Reader()
	defer r.Close()
	_, err = io.Copy(f, &untilDone{ctx, r})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		d.remove()
		if perr := new(fs.PathError); errors.As(err, &perr) && perr.Path == d.path {
			return nil, fmt.Errorf("%w: %w", errUnwritable, err)
		}
		return nil, fmt.Errorf("read result: %w", err)
	}
	return d, nil
}

func inMemory(ctx context.Context, b *payload.Body) (*document, error) {
	r := b.Reader()
	defer r.Close()
	text := make([]byte, b.Size())
	if _, err := io.ReadFull(&untilDone{ctx, r}, text); err != nil {
		return nil, fmt.Errorf("read result: %w", err)
	}
	return &document{text: text, size: b.Size(), made: time.Now()}, nil
}

// untilDone is a reader that ends with a context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
