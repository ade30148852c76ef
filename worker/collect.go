package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/media"
)

// maxFiles is how many output files one job may have.
const maxFiles = 512

// collect finds the files that an attempt made: those that nodes reported, and
// those that lie in the attempt's folder though no node reported them.
func (l *life) collect(ctx context.Context, a *attempt, made *comfy.Outcome, keeper *keeper) (*job.Output, error) {
	values, warnings := capValues(made.Values)
	out := &job.Output{Values: values, Warnings: slices.Concat(made.Warnings, warnings)}
	reported := make(map[string]bool)
	for _, o := range made.Outputs {
		preview := o.Type == "temp"
		if o.Type != "output" && !(preview && l.wanted.previews) {
			continue // previews that nobody asked for, and inputs shown again
		}
		f, err := l.file(ctx, a, o, keeper)
		if err != nil {
			return nil, err
		}
		if f.Preview = preview; !preview {
			reported[path.Join(o.Subfolder, o.Filename)] = true
		}
		f.Subfolder = a.ownSubfolder(o.Subfolder)
		out.Files = append(out.Files, f)
	}
	for i, frame := range made.Frames {
		f, err := frameFile(i, frame, keeper)
		if err != nil {
			return nil, err
		}
		out.Files = append(out.Files, f)
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
// directory where that is ours to read, and over HTTP elsewhere. What lies outside
// of the attempt's own folder is kept: the next job may write over it.
func (l *life) file(ctx context.Context, a *attempt, o comfy.Output, k *keeper) (job.File, error) {
	name := path.Join(o.Subfolder, o.Filename)
	dir := a.slot.OutputDir
	if o.Type != "output" {
		dir = "" // ComfyUI knows where its other files are
	}
	content, what, err := localContent(dir, name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoDirectory):
		content, what, err = l.view(ctx, a, o, k)
	case err == nil && !strings.HasPrefix(name, a.folder+"/"):
		content, err = k.keep(name, content)
	}
	if err != nil {
		return job.File{}, &outputError{name, err}
	}
	f := job.File{Filename: path.Base(o.Filename), Node: o.Node, Kind: o.Kind, Content: content}
	describe(&f, what)
	return f, nil
}

// describe notes what a file is.
func describe(f *job.File, what media.Info) {
	f.MIME, f.Width, f.Height = what.MIME, what.Width, what.Height
	f.Frames, f.Duration = what.Frames, what.Duration
}

// lookBefore notes which outputs there are already, before the attempt's prompt is
// submitted once more: it may have been run and forgotten.
func (l *life) lookBefore(ctx context.Context, a *attempt) {
	names, err := touch(ctx, &a.slot.volume, cleanUpLimit, func() ([]string, error) { return localFiles(a.slot.OutputDir, a.folder) })
	if err != nil {
		l.log.Debug("outputs of an earlier run are not known", zap.Error(err))
	}
	a.before = names
}

// unreported are the files in the attempt's own folder that no node reported. Those of
// an earlier run of the prompt are left out if the last one made any of its own: its
// nodes may all have been cached.
func (l *life) unreported(a *attempt, reported map[string]bool) ([]job.File, error) {
	names, err := localFiles(a.slot.OutputDir, a.folder)
	if err != nil {
		return nil, fmt.Errorf("look for outputs in %s: %w", a.folder, err)
	}
	earlier := func(name string) bool { return slices.Contains(a.before, name) }
	cached := !slices.ContainsFunc(names, func(name string) bool { return !earlier(name) })
	var files []job.File
	for _, name := range names {
		if reported[name] || earlier(name) && !cached {
			continue
		}
		content, what, err := localContent(a.slot.OutputDir, name)
		if err != nil {
			return nil, &outputError{name, err}
		}
		f := job.File{Filename: path.Base(name), Subfolder: a.ownSubfolder(path.Dir(name)), Kind: "files", Content: content}
		describe(&f, what)
		files = append(files, f)
	}
	return files, nil
}

// frameFile is an image that a node sent over the event stream instead of
// saving it.
func frameFile(i int, frame comfy.Frame, k *keeper) (job.File, error) {
	f := job.File{
		Filename: fmt.Sprintf("ComfyUI_%05d_%s", i+1, mimetype.Detect(frame.Data).Extension()),
		Node:     frame.Node, Kind: "images",
	}
	describe(&f, media.Look(bytes.NewReader(frame.Data), int64(len(frame.Data))))
	var err error
	f.Content, err = k.keep(f.Filename, job.Content{Size: int64(len(frame.Data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(frame.Data)), nil
	}})
	return f, err
}

func totalSize(files []job.File) (sum int64) {
	for _, f := range files {
		sum += f.Content.Size
	}
	return sum
}
