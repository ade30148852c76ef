package worker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// maxPixels is the largest picture that a job may bring. Ten kilobytes of PNG
// can ask for ten gigabytes of memory, which ComfyUI would try to get.
const maxPixels = 100_000_000

// headBytes is more than the size of a picture needs, but for JPEG.
const headBytes = 32

// checkPicture refuses a picture of too many pixels, by its header alone: no
// pixel is decoded. What is no picture, whatever it is called, is let pass, and
// so is one whose header cannot be read, which ComfyUI will say.
func checkPicture(c job.Content) error {
	r, err := c.Open()
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	defer r.Close()
	in := bufio.NewReader(r)
	var head [headBytes]byte
	first, _ := in.Peek(headBytes) // a shorter file is followed by zeros
	copy(head[:], first)
	kind, width, height := pictureSize(head)
	if kind == "JPEG" {
		width, height = jpegSize(in)
	}
	if width > 0 && height > maxPixels/width {
		return fmt.Errorf("the %s has %d x %d pixels: at most %d million in all are taken", kind, width, height, maxPixels/1_000_000)
	}
	return nil
}

// pictureSize returns what the first bytes of a file tell: its kind, "" if it is
// none of those known here, and its size, 0 where that stands elsewhere. The
// image packages are of no help: they give up where programs in C go on, and on
// sizes that they could not decode.
func pictureSize(head [headBytes]byte) (kind string, width, height int64) {
	le16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(head[at:])) }
	le24 := func(at int) int64 { return le16(at) | int64(head[at+2])<<16 }
	is := func(at int, magic string) bool { return bytes.HasPrefix(head[at:], []byte(magic)) }
	switch {
	case is(0, "\x89PNG\r\n\x1a\n"):
		return "PNG", int64(binary.BigEndian.Uint32(head[16:])), int64(binary.BigEndian.Uint32(head[20:]))
	case is(0, "\xff\xd8\xff"):
		return "JPEG", 0, 0
	case is(0, "GIF87a"), is(0, "GIF89a"):
		return "GIF", le16(6), le16(8)
	case is(0, "RIFF") && is(8, "WEBPVP8X"):
		return "WebP", 1 + le24(24), 1 + le24(27)
	case is(0, "RIFF") && is(8, "WEBPVP8L"):
		bits := binary.LittleEndian.Uint32(head[21:])
		return "WebP", 1 + int64(bits&0x3fff), 1 + int64(bits>>14&0x3fff)
	case is(0, "RIFF") && is(8, "WEBPVP8 "):
		return "WebP", le16(26) & 0x3fff, le16(28) & 0x3fff
	case is(0, "BM") && le16(14) == 12:
		return "BMP", le16(18), le16(20)
	case is(0, "BM") && le16(14) >= 40:
		return "BMP", absolute(head[18:]), absolute(head[22:]) // a negative height: top row first
	}
	return "", 0, 0
}

func absolute(b []byte) int64 {
	n := int64(int32(binary.LittleEndian.Uint32(b)))
	return max(n, -n)
}

// jpegSize finds the size of a JPEG, which stands behind whatever cameras and
// programs have put there, 0 if it does not find it.
func jpegSize(in *bufio.Reader) (width, height int64) {
	_, _ = in.Discard(2) // the magic, which has been seen
	for {
		marker := jpegMarker(in)
		var b [7]byte // length, precision, height, width
		switch {
		case marker == 0xd9 || marker == 0xda: // the end, or pixels
			return 0, 0
		case marker == 0x01 || marker >= 0xd0 && marker <= 0xd8: // nothing follows
			continue
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc: // a frame
			if _, err := io.ReadFull(in, b[:]); err != nil {
				return 0, 0
			}
			return int64(binary.BigEndian.Uint16(b[5:])), int64(binary.BigEndian.Uint16(b[3:]))
		}
		if _, err := io.ReadFull(in, b[:2]); err != nil {
			return 0, 0
		}
		_, _ = in.Discard(max(0, int(binary.BigEndian.Uint16(b[:]))-2)) // if short, the next marker is the end
	}
}

// jpegMarker returns the next marker, that of the end when there is no more.
func jpegMarker(in *bufio.Reader) byte {
	var last byte
	for {
		b, err := in.ReadByte()
		switch {
		case err != nil:
			return 0xd9
		case last == 0xff && b != 0xff && b != 0:
			return b
		}
		last = b
	}
}
