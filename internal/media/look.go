package media

import (
	"bytes"
	"io"
	"time"

	"github.com/gabriel-vasile/mimetype"
)

// Info is what a file tells of itself. What is not known is zero.
type Info struct {
	// MIME is the type told by the content, "application/octet-stream" for bytes
	// that tell none.
	MIME string
	// Format is the name by which people know the format, "" where it is none
	// of those that are read here.
	Format string
	// Width and Height are in pixels, as stored: no rotation is taken into account.
	Width, Height int64
	// Frames is how many pictures a film or an animation has, 1 for a still picture
	// of a format that might hold more. It is 0 where they are not counted.
	Frames int
	// Duration is how long film, animation or sound last.
	Duration time.Duration
	// Turned tells that viewers turn or mirror a JPEG because its metadata says so.
	Turned bool
}

// headBytes is as much of a file as its type may depend on.
const headBytes = 3072

// longest is what a duration is taken for a lie from.
const longest = 100 * 24 * time.Hour

// A format is recognised by the first bytes of a file and read by a function,
// which begins at the first byte.
type format struct {
	name string
	is   func(head []byte) bool
	read func(*cursor, *Info)
}

var formats = []format{
	{"PNG", begins("\x89PNG\r\n\x1a\n"), readPNG},
	{"JPEG", begins("\xff\xd8\xff"), readJPEG},
	{"GIF", begins("GIF8"), readGIF},
	{"WebP", riff("WEBP"), readWebP},
	{"BMP", begins("BM"), readBMP},
	{"TIFF", begins("II*\x00"), readTIFF},
	{"TIFF", begins("MM\x00*"), readTIFF},
	{"AVIF", brand("avif", "avis"), readBoxes},
	{"HEIF", brand("heic", "heix", "mif1", "msf1"), readBoxes},
	{"MP4", has(4, "ftyp"), readBoxes},
	{"MP4", has(4, "moov"), readBoxes},
	{"Matroska", begins("\x1aE\xdf\xa3"), readMatroska},
	{"WAV", riff("WAVE"), readWAV},
	{"FLAC", begins("fLaC"), readFLAC},
	{"Ogg", begins("OggS"), readOgg},
	{"MP3", isMP3, readMP3},
}

// Look tells what the file of so many bytes that r yields from its beginning is.
// Where r is an io.Seeker, what need not be read is skipped.
func Look(r io.Reader, size int64) Info {
	c := newCursor(r, size)
	head := c.peek(headBytes)
	info := Info{MIME: mimetype.Detect(head).String()}
	for _, f := range formats {
		if f.is(head) {
			info.Format = f.name
			f.read(c, &info)
			break
		}
	}
	if info.Duration < 0 || info.Duration > longest {
		info.Duration = 0
	}
	if info.Width <= 0 || info.Height <= 0 {
		info.Width, info.Height = 0, 0
	}
	return info
}

// has tells whether magic stands at a place.
func has(at int, magic string) func([]byte) bool {
	return func(head []byte) bool { return len(head) > at && bytes.HasPrefix(head[at:], []byte(magic)) }
}

func begins(magic string) func([]byte) bool { return has(0, magic) }

// riff tells whether a file is a RIFF container of that kind.
func riff(kind string) func([]byte) bool {
	begin, is := begins("RIFF"), has(8, kind)
	return func(head []byte) bool { return begin(head) && is(head) }
}

// brand tells whether the first of an ISO file's brands is one of these.
func brand(brands ...string) func([]byte) bool {
	file := has(4, "ftyp")
	return func(head []byte) bool {
		if !file(head) {
			return false
		}
		for _, b := range brands {
			if has(8, b)(head) {
				return true
			}
		}
		return false
	}
}

// lasting is the time that n of so many in a second take.
func lasting(n, perSecond uint64) time.Duration {
	if perSecond == 0 {
		return 0
	}
	seconds := float64(n) / float64(perSecond)
	if seconds > longest.Seconds() {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}
