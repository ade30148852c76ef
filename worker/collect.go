package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// maxFiles is how many output files one job may have.
const maxFiles = 512

// collect finds the files that an attempt made: those that nodes reported, and
// those that lie in the attempt's folder though no node reported them.
func (l *life) collect(ctx context.Context, a *attempt, made *comfy.Outcome) (*job.Output, error) {
	out := &job.Output{Values: made.Values, Warnings: made.Warnings}
	reported := make(map[string]bool)
	for _, o := range made.Outputs {
		if o.Type != "output" {
			continue // previews, and inputs shown again
		}
		f, err := l.file(ctx, o)
		if err != nil {
			return nil, err
		}
		reported[path.Join(o.Subfolder, o.Filename)] = true
		f.Subfolder = a.ownSubfolder(o.Subfolder)
		out.Files = append(out.Files, f)
	}
	for i, frame := range made.Frames {
		out.Files = append(out.Files, frameFile(i, frame))
	}
	unreported, err := l.unreported(a, reported)
	if err != nil {
		return nil, err
	}
	out.Files = append(out.Files, unreported...)
	if len(out.Files) > maxFiles {
		return nil, fmt.Errorf("%w: it made %d files, at most %d are taken", errTooMany, len(out.Files), maxFiles)
	}
	return out, nil
}

// ownSubfolder is what the workflow asked for: the subfolder without the
// attempt's folder.
func (a *attempt) ownSubfolder(subfolder string) string {
	rest, below := strings.CutPrefix(subfolder, a.folder)
	if !below {
		return subfolder
	}
	return strings.TrimPrefix(rest, "/")
}

// file makes a job.File of a reported output. It is read from ComfyUI's output
// directory where that is ours to read, and over HTTP elsewhere.
func (l *life) file(ctx context.Context, o comfy.Output) (job.File, error) {
	name := path.Join(o.Subfolder, o.Filename)
	content, mime, err := localContent(l.slot.OutputDir, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoDirectory) {
		content, mime, err = l.viewed(ctx, o)
	}
	if err != nil {
		return job.File{}, &outputError{name, err}
	}
	return job.File{Filename: path.Base(o.Filename), Node: o.Node, Kind: o.Kind, MIME: mime, Content: content}, nil
}

// viewed is the content, and its type, of an output that ComfyUI has to be
// asked for.
func (l *life) viewed(ctx context.Context, o comfy.Output) (c job.Content, mime string, err error) {
	body, size, err := l.slot.Comfy.View(ctx, o)
	if err != nil {
		return c, "", err
	}
	defer body.Close()
	if mime, err = sniff(body); err != nil {
		return c, "", err
	}
	ctx = context.WithoutCancel(ctx) // the delivery reads it again, and bounds that itself
	return job.Content{Size: size, Open: func() (io.ReadCloser, error) {
		body, _, err := l.slot.Comfy.View(ctx, o)
		return body, err
	}}, mime, nil
}

// unreported are the files in the attempt's own folder that no node reported.
func (l *life) unreported(a *attempt, reported map[string]bool) ([]job.File, error) {
	names, err := localFiles(l.slot.OutputDir, a.folder)
	if err != nil {
		return nil, fmt.Errorf("look for outputs in %s: %w", a.folder, err)
	}
	var files []job.File
	for _, name := range names {
		if reported[name] {
			continue
		}
		content, mime, err := localContent(l.slot.OutputDir, name)
		if err != nil {
			return nil, &outputError{name, err}
		}
		files = append(files, job.File{
			Filename: path.Base(name), Subfolder: a.ownSubfolder(path.Dir(name)), Kind: "files", MIME: mime, Content: content,
		})
	}
	return files, nil
}

// frameFile is an image that a node sent over the event stream instead of
// saving it.
func frameFile(i int, frame comfy.Frame) job.File {
	kind := mimetype.Detect(frame.Data)
	return job.File{
		Filename: fmt.Sprintf("ComfyUI_%05d_%s", i+1, kind.Extension()),
		Node:     frame.Node, Kind: "images", MIME: kind.String(),
		Content: job.Content{Size: int64(len(frame.Data)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(frame.Data)), nil
		}},
	}
}

// sniff tells a file's type by its first bytes.
func sniff(r io.Reader) (string, error) {
	kind, err := mimetype.DetectReader(r)
	if err != nil {
		return "", err
	}
	return kind.String(), nil
}

func totalSize(files []job.File) (sum int64) {
	for _, f := range files {
		sum += f.Content.Size
	}
	return sum
}
