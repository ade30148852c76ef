package worker

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/media"
)

// pictures are headers of pictures of any size, with nothing behind them.
var pictures = map[string]func(width, height int) string{
	"PNG": func(w, h int) string {
		return "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + be32(w) + be32(h) + "\x08\x06\x00\x00\x00"
	},
	"JPEG": func(w, h int) string {
		exif := "\xff\xe1\x40\x00" + strings.Repeat("\x00", 0x4000-2)
		size := string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(h)), uint16(w)))
		return "\xff\xd8" + exif + exif + "\xff\xc2\x00\x11\x08" + size + "\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xda"
	},
	"GIF": func(w, h int) string { return "GIF89a" + le16(w) + le16(h) + "\x00\x00\x00" },
	"WebP": func(w, h int) string {
		return "RIFF\x00\x00\x00\x00WEBPVP8 \x00\x00\x00\x00\x30\x01\x00\x9d\x01\x2a" + le16(w) + le16(h)
	},
	"WebP lossless": func(w, h int) string {
		return "RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f" + le32(w-1|(h-1)<<14)
	},
	"WebP extended": func(w, h int) string {
		return "RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + le32(w - 1)[:3] + le32(h - 1)[:3]
	},
	"BMP":            func(w, h int) string { return "BM" + strings.Repeat("\x00", 12) + le32(40) + le32(w) + le32(h) },
	"BMP, top first": func(w, h int) string { return "BM" + strings.Repeat("\x00", 12) + le32(124) + le32(w) + le32(-h) },
	"BMP of OS/2":    func(w, h int) string { return "BM" + strings.Repeat("\x00", 12) + le32(12) + le16(w) + le16(h) },
}

func be32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func le16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }

// A picture of more than 100 million pixels is refused by its header, with its
// size told, whether it came with the job or from a URL; no pixel is decoded.
func TestFault_V4_PictureBombsAreRefused(t *testing.T) {
	files := make(map[string]string)
	for kind, head := range pictures {
		files["/"+kind] = head(16000, 16000)
	}
	files["/polyglot.zip"] = pictures["PNG"](50000, 50000) + "PK\x03\x04 and a whole archive"
	url, _ := web(t, files)
	p := startPod(t, comfytest.Config{}, downloads(t.TempDir()))
	for path, body := range files {
		t.Run(path, func(t *testing.T) {
			for how, file := range map[string]string{
				"base64": `{"name":"a.png","data":"` + base64.StdEncoding.EncodeToString([]byte(body)) + `"}`,
				"url":    `{"name":"a.png","url":"` + url + strings.ReplaceAll(path, " ", "%20") + `"}`,
			} {
				d := p.do(how+path, soundJob(file))
				d.wantCause(t, CauseBadInput)
				if m := d.Failure.Message; !strings.Contains(m, "000 x ") || !strings.Contains(m, "at most 100 million") || !strings.Contains(m, "input.files[0]") {
					t.Errorf("%s: message = %q", how, m)
				}
			}
		})
	}
	p.untouched()
}

// The twin: pictures of 100 million pixels, broken ones and files that are no
// pictures pass, and a bomb costs no memory.
func TestFault_V4_OtherFilesPass(t *testing.T) {
	check := func(body string) error {
		content, err := decodeBase64(base64.StdEncoding.EncodeToString([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		return checkPicture(content)
	}
	for kind, head := range pictures {
		if err := check(head(10000, 10000)); err != nil {
			t.Errorf("%s of 100 million pixels: %v", kind, err)
		}
		if err := check(head(10001, 10000)); err == nil {
			t.Errorf("%s of more was accepted", kind)
		}
		whole := head(16000, 16000)
		for n := 1; n < min(len(whole), 40); n++ {
			_ = check(whole[:n]) // must not panic
		}
	}
	for _, body := range []string{"x", "ftypmp42", `<svg width="99999" height="99999"/>`, "RIFF\x00\x00\x00\x00WAVEfmt ", "\xff\xd8\xff\xe0 broken"} {
		if err := check(body); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
	hidden := "\xff\xd8" + strings.Repeat("\xff\xfe\x00\x02", media.Most/4) + pictures["JPEG"](60000, 60000)[2:]
	if err := check(hidden); err == nil || !strings.Contains(err.Error(), "cannot be found") {
		t.Errorf("a JPEG whose size is hidden: %v", err)
	}
	if err := check(pictures["PNG"](0xffffffff, 0xffffffff)); err == nil {
		t.Error("the largest PNG was accepted")
	}
	if grown := grows(func() { _ = check(pictures["PNG"](50000, 50000)) }); grown > 1<<20 {
		t.Errorf("%d bytes were taken for a header", grown)
	}
}

func FuzzCheckPicture(f *testing.F) {
	for _, head := range pictures {
		f.Add([]byte(head(16000, 16000)))
	}
	f.Fuzz(func(_ *testing.T, body []byte) {
		if content, err := decodeBase64(base64.StdEncoding.EncodeToString(body)); err == nil {
			_ = checkPicture(content)
		}
	})
}
