package s3store

import (
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// What ComfyUI hands over may be a page with scripts under any name: browsers
// are never told that it is one.
func TestFault_X9_LabelsComeFromAList(t *testing.T) {
	tests := []struct {
		filename, mime string
		want           string
		download       bool
	}{
		{"a.png", "image/png", "image/png", false},
		{"a.PNG", "", "image/png", false},
		{"a.png", "application/octet-stream", "image/png", false},
		{"a.png", "image/jpeg", "image/jpeg", false},
		{"a.mp4", "video/mp4", "video/mp4", false},
		{"a.glb", "application/octet-stream", "model/gltf-binary", false},
		{"a.obj", "text/plain; charset=utf-8", "model/obj", false},
		{"a.txt", "text/plain; charset=utf-8", "text/plain", false},
		{"notes", "text/plain", "text/plain", false},
		{"a.wav", "audio/x-wav", "audio/wav", false},
		{"a.svg", "image/svg+xml", "image/svg+xml", true},
		{"a.png", "image/svg+xml", "image/svg+xml", true},
		{"a.svg", "text/plain", "image/svg+xml", true},
		{"a.html", "", "application/octet-stream", true},
		{"a.png", "text/html; charset=utf-8", "application/octet-stream", true},
		{"a.js", "text/javascript", "application/octet-stream", true},
		{"a.xml", "text/xml", "application/octet-stream", true},
		{"a.js", "text/plain", "application/octet-stream", true},
		{"a.safetensors", "", "application/octet-stream", true},
		{"", "image/png\r\nX-Evil: 1", "application/octet-stream", true},
	}
	for _, tt := range tests {
		t.Run(tt.filename+" "+tt.mime, func(t *testing.T) {
			got := kindOf(job.File{Filename: tt.filename, MIME: tt.mime})
			if got.mime != tt.want || got.download != tt.download {
				t.Errorf("kindOf = %s, download %t; want %s, %t", got.mime, got.download, tt.want, tt.download)
			}
		})
	}
}

func TestLabelsGoWithTheObject(t *testing.T) {
	for _, partsFrom := range []int64{1, 100} {
		fake, dial := newFake(t)
		s, _ := testStore(t, dial, func(c *Config) { c.WholeSize, c.PartSize = partsFrom, 2 })
		if _, err := s.Put(t.Context(), "j", 0, bytesFile("a.svg", []byte("<svg/>"))); err != nil {
			t.Fatal(err)
		}
		header := fake.requests[0].Header
		if header.Get("Content-Type") != "image/svg+xml" || header.Get("Content-Disposition") != "attachment" {
			t.Errorf("%s is labelled %q, %q; want image/svg+xml, attachment", fake.requests[0].URL, header.Get("Content-Type"), header.Get("Content-Disposition"))
		}
	}
}
