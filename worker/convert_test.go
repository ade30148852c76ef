package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/convert"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// saved is a job that saves a picture of 64 x 32 pixels in so many frames.
func saved(class, output string) string {
	return fmt.Sprintf(`{"workflow":{
		"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":32,"batch_size":2,"color":255}},
		"2":{"class_type":%q,"inputs":{"images":["1",0],"filename_prefix":"p","fps":8,"frame_rate":8,"loop_count":0,
			"format":"image/gif","pingpong":false,"save_output":true,"lossless":true,"quality":80,"method":"default","compress_level":4,"codec":"vp9","crf":30}}},
		"output":%s}`, class, output)
}

// Pictures are delivered in the format and the size that the job wants, else in
// those that the worker is set to, and nothing of them is left on disk.
func TestPicturesAreConverted(t *testing.T) {
	dir := t.TempDir()
	both(t, func(t *testing.T, sim comfytest.Config) {
		spool := filepath.Join(dir, sim.Version)
		p := startPod(t, sim, func(c *Config) {
			c.Format, c.SpoolDir = convert.Format{Name: convert.JPEG, MaxEdge: 32}, spool
		})
		for output, want := range map[string]struct {
			ext, mime string
			w         int64
		}{
			`null`:                                {".jpg", "image/jpeg", 32},
			`{"format":"webp","max_edge":0}`:      {".webp", "image/webp", 64},
			`{"format":"png"}`:                    {".png", "image/png", 32},
			`{"format":"original","max_edge":64}`: {".png", "image/png", 64},
			`{"max_edge":16,"quality":1}`:         {".jpg", "image/jpeg", 16},
		} {
			d := p.do(output, saved("SaveImage", output))
			d.wantOutput(t, 2)
			for i, f := range d.Output.Files {
				name := fmt.Sprintf("p_%05d_%s", i+1, want.ext)
				if f.Filename != name || f.MIME != want.mime || f.Width != want.w || f.Height != want.w/2 || f.Kind != "images" || f.Node != "2" {
					t.Errorf("%s: %+v", output, f)
				}
			}
			if len(d.Output.Warnings) > 0 {
				t.Errorf("%s: warnings %q", output, d.Output.Warnings)
			}
			var out struct{ Images []struct{ Data []byte } }
			if err := json.Unmarshal(d.body, &out); err != nil {
				t.Fatal(err)
			}
			if want.ext == ".jpg" {
				if c, err := jpeg.DecodeConfig(bytes.NewReader(out.Images[1].Data)); err != nil || int64(c.Width) != want.w {
					t.Errorf("%s: %+v, %v", output, c, err)
				}
			}
		}
		if n := entries(t, spool); n != 0 {
			t.Errorf("%d files have names in the folder", n)
		}
	})
}

// shelf is a store that keeps what it is given.
type shelf struct {
	mu    sync.Mutex
	files map[string][]byte // by type and name
}

func (s *shelf) Put(_ context.Context, _ string, _ int, f job.File) (job.File, error) {
	r, err := f.Content.Open()
	if err != nil {
		return f, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[f.MIME+" "+f.Filename] = body
	f.URL = "https://b.example/" + f.Filename
	return f, err
}

// The store gets the picture that was made, under its new name.
func TestConvertedPicturesAreStored(t *testing.T) {
	s := &shelf{files: make(map[string][]byte)}
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Store, c.SpoolDir = s, t.TempDir() })
	d := p.do("job", saved("SaveImage", `{"format":"jpeg"}`))
	d.wantOutput(t, 2)
	for i, f := range d.Output.Files {
		body := s.files[fmt.Sprintf("image/jpeg p_%05d_.jpg", i+1)]
		if _, err := jpeg.Decode(bytes.NewReader(body)); err != nil || f.Content.Size != int64(len(body)) || !strings.HasSuffix(f.URL, ".jpg") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

// What cannot be converted is delivered as it was saved, with a warning that says
// why; what is no picture at all is delivered without one.
func TestWhatCannotBeConvertedIsDelivered(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		for class, want := range map[string]string{
			"SaveAnimatedWEBP": "",
			"SaveWEBM":         "-",
			"VHS_VideoCombine": "",
		} {
			plain := p.do(class, saved(class, `null`))
			wanted := p.do(class+" wanted", saved(class, `{"format":"jpeg","max_edge":8}`))
			if plain.Failure != nil || wanted.Failure != nil {
				t.Fatalf("%v, %v", plain.Failure, wanted.Failure)
			}
			last := len(plain.hashes) - 1
			if want == "" && (len(wanted.Output.Warnings) != 1 || !strings.Contains(wanted.Output.Warnings[0], "is delivered as it is: ")) ||
				want == "-" && len(wanted.Output.Warnings) > 0 {
				t.Errorf("%s: warnings %q", class, wanted.Output.Warnings)
			}
			if wanted.Output.Files[0].MIME != plain.Output.Files[0].MIME || class != "VHS_VideoCombine" && wanted.hashes[last] != plain.hashes[last] {
				t.Errorf("%s: %+v, want %+v", class, wanted.Output.Files, plain.Output.Files)
			}
		}
	})
}

// pngFile is a file of a job.
func pngFile(t *testing.T, name string, img image.Image) job.File {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return fileOf(name, "image/png", b.Bytes(), img.Bounds().Dx(), img.Bounds().Dy())
}

func fileOf(name, mime string, body []byte, w, h int) job.File {
	return job.File{Filename: name, MIME: mime, Width: int64(w), Height: int64(h), Frames: 1, Content: job.Content{
		Size: int64(len(body)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}}
}

// convertAll converts files as a job's would be.
func convertAll(ctx context.Context, t *testing.T, cfg Config, files ...job.File) *job.Output {
	t.Helper()
	w := New(cfg, zap.NewNop())
	w.uploads = ctx // as Run sets it
	l := &life{w: w, ctx: ctx, output: &job.Output{Files: files}}
	l.convert(ctx)
	t.Cleanup(func() {
		for _, end := range l.ends {
			end()
		}
	})
	return l.output
}

// Names that become one are kept apart, a transparent picture is put on white
// with a warning, and a folder that cannot be written to does not matter.
func TestConvertedFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	solid, clear := image.NewRGBA(image.Rect(0, 0, 8, 8)), image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := range solid.Pix {
		solid.Pix[i] = 255
	}
	clear.Set(1, 1, color.NRGBA{9, 9, 9, 9})
	jpg := fileOf("a.jpg", "image/jpeg", []byte("it is left alone"), 8, 8)
	cfg := Config{Format: convert.Format{Name: convert.JPEG}, SpoolDir: filepath.Join(file, "below")} // which is never made
	out := convertAll(t.Context(), t, cfg, pngFile(t, "a.png", solid), jpg, pngFile(t, "a.webp", clear))
	for i, want := range []string{"a_2.jpg", "a.jpg", "a_3.jpg"} {
		if out.Files[i].Filename != want {
			t.Errorf("file %d is called %s, want %s", i, out.Files[i].Filename, want)
		}
	}
	if w := out.Warnings; len(w) != 1 || !strings.Contains(w[0], "a.webp was transparent") {
		t.Errorf("warnings %q", w)
	}
	for _, i := range []int{0, 2} {
		f := out.Files[i]
		r, err := f.Content.Open()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if c, derr := jpeg.DecodeConfig(bytes.NewReader(raw)); err != nil || derr != nil || c.Width != 8 || int64(len(raw)) != f.Content.Size {
			t.Errorf("%s: %d bytes, %v, %v", f.Filename, len(raw), err, derr)
		}
		r.Close()
	}
}

// A picture that its metadata turns, a broken one and one too large are delivered
// as they are, and so is everything once the job is given up.
func TestConversionsThatFail(t *testing.T) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	exif := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
	turned := "\xff\xd8" + exif + string(b.Bytes()[2:])
	whole := pngFile(t, "whole.png", image.NewGray(image.Rect(0, 0, 8, 8)))
	broken := fileOf("broken.png", "image/png", []byte("\x89PNG\r\n\x1a\n"), 8, 8)
	cfg := Config{Format: convert.Format{Name: convert.WebP}, SpoolDir: t.TempDir()}
	files := []job.File{fileOf("turned.jpg", "image/jpeg", []byte(turned), 8, 8), broken, fileOf("large.png", "image/png", nil, 20000, 20000), whole}
	out := convertAll(t.Context(), t, cfg, files...)
	if len(out.Warnings) != 3 || out.Files[3].Filename != "whole.webp" {
		t.Errorf("warnings %q, files %+v", out.Warnings, out.Files)
	}
	for i, want := range []string{"turned.jpg is delivered as it is: its metadata", "broken.png is delivered as it is: decode", "large.png is delivered as it is: it has 20000 x 20000"} {
		if !strings.HasPrefix(out.Warnings[i], want) {
			t.Errorf("warning %q, want %q", out.Warnings[i], want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out := convertAll(ctx, t, cfg, whole); out.Files[0].Filename != "whole.png" || len(out.Warnings) != 1 {
		t.Errorf("after the job was given up: %+v", out)
	}
}
