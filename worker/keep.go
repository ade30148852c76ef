package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/media"
	"github.com/comfyvisor/comfyvisor/internal/spool"
)

const (
	// keptInMemory is how many bytes of what is kept of a job stay in memory.
	keptInMemory = 1 << 20
	// viewTries is how often ComfyUI is asked for an output.
	viewTries = 3
	viewAgain = 100 * time.Millisecond
)

// A keeper keeps the outputs of one attempt that ComfyUI, or another job, may
// take away before they are delivered: those that only ComfyUI can hand out, and
// those that lie where other jobs write, too. One that is not closed, because its
// volume stalls and nobody waits for it, goes with its last reader.
type keeper struct {
	file *spool.File
	log  *zap.Logger
}

func (l *life) newKeeper() *keeper {
	return &keeper{spool.New(l.w.cfg.SpoolDir, keptInMemory), l.log}
}

func (k *keeper) close() { _ = k.file.Close() } // all of it was read, or never will be

// keep returns c as it is at this moment. Where there is no place to keep it, that
// is c itself.
func (k *keeper) keep(name string, c job.Content) (job.Content, error) {
	r, err := c.Open()
	if err != nil {
		return c, err
	}
	defer r.Close()
	from, to := k.file.Size(), &noted{w: k.file}
	n, err := io.Copy(to, r)
	switch {
	case err == nil && c.Size >= 0 && n != c.Size:
		err = fmt.Errorf("it has %d bytes instead of %d: %w", n, c.Size, io.ErrUnexpectedEOF)
	case err == nil:
		return job.Content{Size: n, Open: func() (io.ReadCloser, error) { return k.file.Reader(from, n), nil }}, nil
	case to.err != nil && c.Size >= 0:
		k.log.Warn("no place to keep an output: it is read when it is delivered", zap.String("path", name), zap.Error(to.err))
		err = nil
	}
	k.file.Cut(from)
	return c, err
}

// noted is a writer that notes its own error, which io.Copy mixes with the reader's.
type noted struct {
	w   io.Writer
	err error
}

func (n *noted) Write(p []byte) (int, error) {
	written, err := n.w.Write(p)
	n.err = err
	return written, err
}

// view fetches an output that ComfyUI has to be asked for, keeps it, and tells what
// it is.
func (l *life) view(ctx context.Context, a *attempt, o comfy.Output, k *keeper) (c job.Content, what media.Info, err error) {
	for try := 1; ; try++ {
		if c, err = viewOnce(ctx, a.slot, o, k); err == nil {
			what, err = lookAt(o.Filename, c)
		}
		if err == nil || try == viewTries || !passing(err) {
			return c, what, err
		}
		l.log.Debug("output is fetched again", zap.String("path", o.Filename), zap.Error(err))
		wait(viewAgain, ctx.Done(), nil)
		if ctx.Err() != nil {
			return c, what, context.Cause(ctx)
		}
	}
}

func viewOnce(ctx context.Context, s *Slot, o comfy.Output, k *keeper) (job.Content, error) {
	body, size, err := s.Comfy.View(ctx, o)
	if err != nil {
		return job.Content{}, err
	}
	later := context.WithoutCancel(ctx) // a delivery bounds what it reads itself
	return k.keep(o.Filename, job.Content{Size: size, Open: func() (io.ReadCloser, error) {
		if first := body; first != nil {
			body = nil
			return first, nil
		}
		again, _, err := s.Comfy.View(later, o)
		return again, err
	}})
}

// lookAt tells what it is that ComfyUI handed out as a file of that name. Nothing
// is an error, and so is a page that says why it is not the file.
func lookAt(name string, c job.Content) (what media.Info, err error) {
	if c.Size == 0 {
		return what, errors.New("ComfyUI handed out no byte of it")
	}
	r, err := c.Open()
	if err != nil {
		return what, err
	}
	defer r.Close()
	what = media.Look(r, c.Size)
	if strings.HasPrefix(what.MIME, "text/html") && !strings.HasPrefix(path.Ext(name), ".htm") {
		err = errors.New("ComfyUI handed out a web page instead of it")
	}
	return what, err
}

// passing tells whether ComfyUI may well hand out the output when it is asked
// again.
func passing(err error) bool {
	var answer *comfy.HTTPError
	return !errors.As(err, &answer) || answer.Status >= http.StatusInternalServerError
}
