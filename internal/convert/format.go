package convert

import (
	"errors"
	"fmt"
	"strings"
)

// Names of formats.
const (
	Original = "original" // the one that a file has
	JPEG     = "jpeg"
	PNG      = "png"
	WebP     = "webp"
)

// Formats are the names that a Format may have.
var Formats = []string{Original, JPEG, PNG, WebP}

const (
	// LongestEdge is the most that MaxEdge may be.
	LongestEdge = 16384
	// MaxPixels is the largest picture that is converted.
	MaxPixels = 100_000_000
)

// A Format is what pictures are made into. The zero value leaves them as they are.
type Format struct {
	// Name is one of Formats; "" means Original.
	Name string
	// Quality is between 1 and 100, 0 for the format's usual one. PNG knows none,
	// and 100 makes WebP lossless.
	Quality int
	// MaxEdge is how many pixels the longer side may have, 0 for any number.
	MaxEdge int
}

// A Source is what is known of a file before it is converted.
type Source struct {
	MIME          string
	Width, Height int64
	Frames        int // 0 where it is not known
}

// Touches tells whether a file is a picture that is not yet as f wants it. One that
// is already of the format and small enough is left alone, and so are vector
// graphics, which have no pixels.
func (f Format) Touches(s Source) bool {
	if !strings.HasPrefix(s.MIME, "image/") || s.MIME == "image/svg+xml" {
		return false
	}
	large := f.MaxEdge > 0 && max(s.Width, s.Height) > int64(f.MaxEdge)
	mime := s.MIME
	if mime == "image/apng" {
		mime = "image/png"
	}
	other := f.Name != "" && f.Name != Original && mime != "image/"+f.Name
	return large || other
}

// Check returns why a picture cannot be converted, nil if nothing is known to
// stand in the way.
func Check(s Source) error {
	_, known := decoders[s.MIME]
	switch {
	case s.Frames > 1 || s.MIME == "image/apng" || s.Frames == 0 && (s.MIME == "image/gif" || s.MIME == "image/webp"): // more than could be counted
		return errors.New("it is an animation, which would come to a stand")
	case !known:
		return fmt.Errorf("pictures of type %s cannot be read here", s.MIME)
	case s.Width <= 0 || s.Height <= 0:
		return errors.New("its size cannot be read")
	case s.Height > MaxPixels/s.Width:
		return fmt.Errorf("it has %d x %d pixels, more than %d million in all", s.Width, s.Height, MaxPixels/1_000_000)
	}
	return nil
}

// target is the format's own name for what a picture of type mime becomes.
func (f Format) target(mime string) string {
	switch name := strings.TrimPrefix(mime, "image/"); {
	case f.Name != "" && f.Name != Original:
		return f.Name
	case name == JPEG || name == WebP:
		return name
	}
	return PNG
}

// size is what a picture's sides become.
func (f Format) size(width, height int) (int, int) {
	longer := max(width, height)
	if f.MaxEdge == 0 || longer <= f.MaxEdge {
		return width, height
	}
	scaled := func(n int) int { return max(1, (2*n*f.MaxEdge+longer)/(2*longer)) }
	return scaled(width), scaled(height)
}
