package worker

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/comfyvisor/comfyvisor/internal/convert"
	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/media"
	"github.com/comfyvisor/comfyvisor/internal/spool"
)

// parallelConversions is how many pictures of a job are converted at the same
// time. Those of all jobs together have no more than convert.MaxPixels.
const parallelConversions = 4

// convertedInMemory is up to which size a converted picture waits in memory.
const convertedInMemory = 1 << 20

// convert makes the job's pictures into the format that is wanted. One that
// cannot be converted is delivered as it is, with a warning.
func (l *life) convert(ctx context.Context) {
	format := l.wanted.over(l.w.cfg.Format)
	ctx, cancel := l.whileWanted(ctx)
	defer cancel()
	files := l.output.Files
	warnings := make([]string, len(files))
	spools := make([]*spool.File, len(files))
	var g errgroup.Group
	g.SetLimit(parallelConversions)
	for i := range files {
		if !format.Touches(sourceOf(files[i])) {
			continue
		}
		g.Go(func() error {
			made, flattened, err := l.w.converted(ctx, files[i], format)
			switch {
			case err != nil:
				warnings[i] = fmt.Sprintf("%s is delivered as it is: %v", files[i].Filename, err)
				return nil
			case flattened:
				warnings[i] = fmt.Sprintf("%s was transparent: JPEG cannot be, so it was put on white", files[i].Filename)
			}
			files[i], spools[i] = made.File, made.spool
			return nil
		})
	}
	_ = g.Wait() // what went wrong is a warning
	for i, s := range spools {
		if warnings[i] != "" {
			l.output.Warnings = append(l.output.Warnings, warnings[i])
		}
		if s != nil {
			l.atEnd(func() { _ = s.Close() }) // all of it was read, or never will be
		}
	}
	ownNames(files, func(i int) bool { return spools[i] != nil })
}

func sourceOf(f job.File) convert.Source {
	return convert.Source{MIME: f.MIME, Width: f.Width, Height: f.Height, Frames: f.Frames}
}

// convertedFile is a file with the spool that holds it.
type convertedFile struct {
	job.File
	spool *spool.File
}

// converted makes one picture into a format. The libraries that read pictures
// are not trusted not to panic.
func (w *Worker) converted(ctx context.Context, f job.File, format convert.Format) (made convertedFile, flattened bool, err error) {
	source := sourceOf(f)
	if err := convert.Check(source); err != nil {
		return made, false, err
	}
	if err := w.pixels.Acquire(ctx, source.Width*source.Height); err != nil {
		return made, false, err
	}
	defer w.pixels.Release(source.Width * source.Height)
	if turned(f.Content) {
		return made, false, fmt.Errorf("its metadata turns it, and would be lost")
	}
	r, err := f.Content.Open()
	if err != nil {
		return made, false, fmt.Errorf("read it: %w", err)
	}
	defer r.Close()
	s := spool.New(w.cfg.SpoolDir, convertedInMemory)
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("panic while a picture was converted", zap.Any("panic", p), zap.ByteString("stack", stackOf(p)))
			err = fmt.Errorf("a fault in the conversion: %v", p)
		}
		if err != nil {
			_ = s.Close() // nobody reads it
		}
	}()
	result, err := format.Write(whileIn{ctx, nil, s}, whileIn{ctx, r, nil}, source)
	if err != nil {
		return made, false, err
	}
	f.Filename = strings.TrimSuffix(f.Filename, path.Ext(f.Filename)) + result.Extension
	f.MIME, f.Width, f.Height = result.MIME, int64(result.Width), int64(result.Height)
	size := s.Size()
	f.Content = job.Content{Size: size, Open: func() (io.ReadCloser, error) { return s.Reader(0, size), nil }}
	return convertedFile{f, s}, result.Flattened, nil
}

// turned tells whether viewers turn a picture because of its metadata.
func turned(c job.Content) bool {
	r, err := c.Open()
	if err != nil {
		return false // it is opened again
	}
	defer r.Close()
	return media.Look(r, c.Size).Turned
}

// ownNames gives a converted file whose name another file has a name of its own.
func ownNames(files []job.File, converted func(i int) bool) {
	taken := make(map[string]bool)
	for i, f := range files {
		if !converted(i) {
			taken[path.Join(f.Subfolder, f.Filename)] = true
		}
	}
	for i := range files {
		if !converted(i) {
			continue
		}
		f := &files[i]
		ext := path.Ext(f.Filename)
		for n, stem := 2, strings.TrimSuffix(f.Filename, ext); taken[path.Join(f.Subfolder, f.Filename)]; n++ {
			f.Filename = fmt.Sprintf("%s_%d%s", stem, n, ext)
		}
		taken[path.Join(f.Subfolder, f.Filename)] = true
	}
}

// whileIn ends a conversion with its context.
type whileIn struct {
	ctx context.Context
	r   io.Reader
	w   io.Writer
}

func (c whileIn) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

func (c whileIn) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}
