package media

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A FLAC file that ends with its first block is one all the same.
func TestLookAtAShortFLAC(t *testing.T) {
	body, err := os.ReadFile(filepath.Join("testdata", "sound.flac"))
	if err != nil {
		t.Fatal(err)
	}
	body = bytes.Clone(body[:42])
	body[4] |= 0x80 // the last block of its metadata
	if got := Look(bytes.NewReader(body), 42); got.MIME != "audio/flac" || got.Duration != 1500*time.Millisecond {
		t.Errorf("got %+v", got)
	}
}

// The files in testdata were written by ffmpeg and avifenc: 64 x 48 pixels, ten
// frames a second for 1.2 s, and a tone of 1.5 s.
func TestLook(t *testing.T) {
	still := Info{Width: 64, Height: 48, Frames: 1}
	film := Info{Width: 64, Height: 48, Frames: 12, Duration: 1200 * time.Millisecond}
	sound := Info{Duration: 1500 * time.Millisecond}
	tests := []struct {
		file, mime, format string
		want               Info
		off                time.Duration // of the duration, at most
	}{
		{"one.png", "image/png", "PNG", still, 0},
		{"one.jpg", "image/jpeg", "JPEG", still, 0},
		{"one.gif", "image/gif", "GIF", still, 0},
		{"one.webp", "image/webp", "WebP", still, 0},
		{"one.avif", "image/avif", "AVIF", still, 0},
		{"one.bmp", "image/bmp", "BMP", Info{Width: 64, Height: 48}, 0},
		{"one.tiff", "image/tiff", "TIFF", Info{Width: 64, Height: 48}, 0},
		{"film.png", "image/apng", "PNG", film, 0},
		{"film.gif", "image/gif", "GIF", film, 0},
		{"film.webp", "image/webp", "WebP", film, 0},
		{"film.mp4", "video/mp4", "MP4", film, 0},
		{"front.mov", "video/quicktime", "MP4", film, 0},
		{"film.webm", "video/webm", "Matroska", Info{Width: 64, Height: 48, Duration: film.Duration}, 0},
		{"sound.wav", "audio/wav", "WAV", sound, 0},
		{"sound.flac", "audio/flac", "FLAC", sound, 0},
		{"sound.mp3", "audio/mpeg", "MP3", sound, 150 * time.Millisecond}, // whole frames
		{"constant.mp3", "audio/mpeg", "MP3", sound, 150 * time.Millisecond},
		{"sound.ogg", "audio/ogg", "Ogg", sound, 0},
		{"sound.opus", "audio/ogg", "Ogg", sound, 0},
		{"sound.m4a", "audio/x-m4a", "MP4", sound, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			for how, r := range map[string]io.Reader{"file": bytes.NewReader(body), "stream": onlyReader{bytes.NewReader(body)}} {
				got, want := Look(r, int64(len(body))), tt.want
				want.MIME, want.Format = tt.mime, tt.format
				if off := (got.Duration - want.Duration).Abs(); off <= max(tt.off, time.Millisecond) {
					got.Duration = want.Duration
				}
				if got != want {
					t.Errorf("%s: got %+v, want %+v", how, got, want)
				}
			}
			for n := 0; n < len(body); n += 1 + n/16 {
				if got := Look(bytes.NewReader(body[:n]), int64(n)); got.Width != 0 && got.Width != 64 {
					t.Fatalf("cut at %d: %+v", n, got)
				}
			}
		})
	}
}

// onlyReader cannot seek.
type onlyReader struct{ io.Reader }

// sparse is a film of 4 GB whose pictures lie before its head, and counts what
// is read of it.
type sparse struct {
	front, back []byte
	size, at    int64
	read        int64
}

func (s *sparse) Seek(at int64, _ int) (int64, error) { s.at = at; return at, nil }

func (s *sparse) Read(p []byte) (int, error) {
	back := s.size - int64(len(s.back))
	if s.at >= s.size {
		return 0, io.EOF
	}
	n := min(len(p), int(s.size-s.at))
	clear(p[:n])
	if s.at < int64(len(s.front)) {
		n = copy(p[:n], s.front[s.at:])
	} else if s.at >= back {
		n = copy(p[:n], s.back[s.at-back:])
	}
	s.at += int64(n)
	s.read += int64(n)
	return n, nil
}

// box is a box of an ISO file.
func box(kind string, body ...string) string {
	all := strings.Join(body, "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(all)))) + kind + all
}

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// Of a film of 4 GB no more than its heads are read.
func TestLargeFileIsHardlyRead(t *testing.T) {
	const size = 4 << 30
	moov := box("moov", box("mvhd", u32(0), u32(0), u32(0), u32(1000), u32(90_000)),
		box("trak", box("tkhd", strings.Repeat("\x00", 76), u32(1920<<16), u32(1080<<16)),
			box("mdia", box("hdlr", u32(0), u32(0), "vide", u32(0)), box("minf", box("stbl", box("stsz", u32(0), u32(9), u32(2160)))))))
	front := box("ftyp", "isom", u32(512)) + u32(1) + "mdat"
	front += string(binary.BigEndian.AppendUint64(nil, uint64(size-len(moov)-len(front)+8)))
	film := &sparse{front: []byte(front), back: []byte(moov), size: size}
	got := Look(film, size)
	if got.Width != 1920 || got.Height != 1080 || got.Frames != 2160 || got.Duration != 90*time.Second {
		t.Errorf("got %+v", got)
	}
	if film.read > 64<<10 {
		t.Errorf("%d bytes were read", film.read)
	}
}

// endless yields the same bytes for ever.
type endless struct {
	unit []byte
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], e.unit[(e.read+int64(n))%int64(len(e.unit)):])
		n += k
	}
	e.read += int64(n)
	return n, nil
}

// A file that never comes to its end is given up, whatever it claims.
func TestEndlessFilesAreGivenUp(t *testing.T) {
	units := map[string]struct{ head, unit string }{
		"gif":  {"GIF89a\x40\x00\x40\x00\x00\x00\x00", "\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01\x00\x00"},
		"mkv":  {"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\xff", "\xec\x80"},
		"jpeg": {"\xff\xd8", "\xff\xe0\x00\x02"},
	}
	for name, u := range units {
		tail := &endless{unit: []byte(u.unit)}
		r := onlyReader{io.MultiReader(strings.NewReader(u.head), tail)}
		got := Look(r, 1<<40)
		if got.Format == "" {
			t.Errorf("%s was not recognised", name)
		}
		if tail.read > Most+64<<10 { // what is already read ahead counts
			t.Errorf("%s: %d bytes were read", name, tail.read)
		}
	}
}

// The largest sizes do not overflow into small ones.
func TestLargestSizes(t *testing.T) {
	ispe := func(w, h uint32) string { return box("ispe", u32(0), u32(w), u32(h)) }
	avif := box("ftyp", "avif") + box("meta", u32(0), box("iprp", box("ipco", ispe(64, 64), ispe(0xffffffff, 0xffffffff), ispe(8, 8))))
	if got := Look(strings.NewReader(avif), int64(len(avif))); got.Width != 0xffffffff || got.Height != 0xffffffff {
		t.Errorf("got %+v", got)
	}
}

func FuzzLook(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body[:min(len(body), 1024)])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		seeking := Look(bytes.NewReader(body), int64(len(body)))
		if reading := Look(onlyReader{bytes.NewReader(body)}, int64(len(body))); reading != seeking {
			t.Errorf("a stream is %+v, a file %+v", reading, seeking)
		}
		if seeking.Width < 0 || seeking.Height < 0 || seeking.Duration < 0 || seeking.MIME == "" {
			t.Errorf("got %+v", seeking)
		}
	})
}
