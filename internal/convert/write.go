package convert

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/HugoSmits86/nativewebp"
	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"

	"github.com/comfyvisor/comfyvisor/internal/vp8"
)

// The usual qualities.
const (
	usualJPEG = 90
	usualWebP = 80
)

// longestWebP is how many pixels a side of a WebP may have.
const longestWebP = 16383

// mostLossless is how many pixels are written as WebP without loss, for which the
// library takes 20 bytes each.
const mostLossless = 25_000_000

// A decoder reads pictures of a format, or only their headers.
type decoder struct {
	all  func(io.Reader) (image.Image, error)
	head func(io.Reader) (image.Config, error)
}

// decoders read what can be converted, by MIME type.
var decoders = map[string]decoder{
	"image/png":  {png.Decode, png.DecodeConfig},
	"image/jpeg": {jpeg.Decode, jpeg.DecodeConfig},
	"image/gif":  {gif.Decode, gif.DecodeConfig},
	"image/webp": {webp.Decode, webp.DecodeConfig},
	"image/bmp":  {bmp.Decode, bmp.DecodeConfig},
}

// read reads a picture that has to be of the size that is known of it: decoders
// take memory for what they themselves find in the header.
func (s Source) read(r io.Reader) (image.Image, error) {
	d := decoders[s.MIME]
	var head bytes.Buffer
	in := bufio.NewReader(r)
	known, err := d.head(io.TeeReader(in, &head))
	if err == nil && !s.is(known.Width, known.Height) {
		return nil, errOtherSize
	}
	var img image.Image
	if err == nil {
		img, err = d.all(io.MultiReader(&head, in))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("decode %s: %w", s.MIME, err)
	case !s.is(img.Bounds().Dx(), img.Bounds().Dy()):
		return nil, errOtherSize
	case s.MIME == "image/webp":
		return wholeRange(img), nil
	}
	return img, nil
}

func (s Source) is(width, height int) bool {
	return int64(width) == s.Width && int64(height) == s.Height
}

var errOtherSize = errors.New("its header and its content are of different sizes")

// A Result is what a picture was made into.
type Result struct {
	MIME          string
	Extension     string // with its dot
	Width, Height int
	// Flattened tells that the picture was transparent, and was put on white.
	Flattened bool
}

// Write reads the picture s from r and writes it to w as f wants it. What has
// been written when it fails is of no use.
func (f Format) Write(w io.Writer, r io.Reader, s Source) (Result, error) {
	if err := Check(s); err != nil {
		return Result{}, err
	}
	img, err := s.read(r)
	if err != nil {
		return Result{}, err
	}
	if width, height := f.size(img.Bounds().Dx(), img.Bounds().Dy()); width < img.Bounds().Dx() || height < img.Bounds().Dy() {
		img = scale(img, width, height)
	}
	name := f.target(s.MIME)
	result := Result{MIME: "image/" + name, Extension: "." + name, Width: img.Bounds().Dx(), Height: img.Bounds().Dy()}
	out := bufio.NewWriterSize(w, 64<<10)
	switch name {
	case JPEG:
		result.Extension = ".jpg"
		result.Flattened = !opaque(img)
		err = jpeg.Encode(out, flat(img), &jpeg.Options{Quality: cmp.Or(f.Quality, usualJPEG)})
	case WebP:
		err = f.writeWebP(out, img)
	default:
		err = png.Encode(out, img)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return Result{}, fmt.Errorf("encode %s: %w", name, err)
	}
	return result, nil
}

// writeWebP writes transparent pictures without loss, whatever the quality.
func (f Format) writeWebP(w io.Writer, img image.Image) error {
	if b := img.Bounds(); max(b.Dx(), b.Dy()) > longestWebP {
		return fmt.Errorf("it has %d x %d pixels, and WebP at most %d a side", b.Dx(), b.Dy(), longestWebP)
	}
	if quality := cmp.Or(f.Quality, usualWebP); quality < 100 && opaque(img) {
		return vp8.Encode(w, img, quality)
	}
	if pixels := img.Bounds().Dx() * img.Bounds().Dy(); pixels > mostLossless {
		return fmt.Errorf("it has %d pixels, and WebP without loss is written of at most %d million", pixels, mostLossless/1_000_000)
	}
	return nativewebp.Encode(w, img, nil)
}

func opaque(img image.Image) bool {
	o, tells := img.(interface{ Opaque() bool })
	return tells && o.Opaque()
}

// flat returns a picture that the encoder of JPEG is quick with, on white where
// it is transparent.
func flat(img image.Image) image.Image {
	switch img.(type) {
	case *image.YCbCr, *image.Gray:
		return img
	case *image.RGBA:
		if opaque(img) {
			return img
		}
	}
	b := img.Bounds()
	on := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(on, on.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(on, on.Rect, img, b.Min, draw.Over)
	return on
}
