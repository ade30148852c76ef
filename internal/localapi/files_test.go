package localapi

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

func contentOf(b []byte) job.Content {
	return job.Content{Size: int64(len(b)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// random are n bytes that are the same each time.
func random(n int) []byte {
	rnd, b := rand.New(rand.NewPCG(1, uint64(n))), make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// finished is a job that made these files.
func (a *api) finished(files ...job.File) string {
	a.t.Helper()
	id := a.submitJob()
	a.takeOne()
	a.done(job.Result{ID: id, Output: &job.Output{Files: files}})
	return id
}

func TestFilesOfAJobAreTheirBytes(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		a := serve(t, Config{SpoolDir: dir})
		var files []job.File
		for i, size := range []int{0, 1, 2, 3, 4, 1000, 100_001} {
			files = append(files, job.File{Filename: fmt.Sprintf("%d.bin", size), Kind: []string{"audio", "images"}[i%2], Content: contentOf(random(size))})
		}
		id := a.finished(files...)
		for i, f := range files {
			want := random(int(f.Content.Size))
			got := a.want(http.StatusOK, "GET", fmt.Sprintf("/jobs/%s/files/%d", id, i), "")
			// a.send trims space from answers
			if !bytes.Equal(got.body, bytes.TrimSpace(want)) || got.header.Get("Content-Length") != fmt.Sprint(len(want)) {
				t.Errorf("%s in %q: %d bytes differ from the file's", f.Filename, dir, len(got.body))
			}
		}
	}
}

func TestPartsOfAFile(t *testing.T) {
	a := serve(t, Config{SpoolDir: t.TempDir()})
	text := []byte(strings.Repeat("0123456789", 1000))
	id := a.finished(job.File{Filename: "a.mp4", MIME: "video/mp4", Kind: "gifs", Content: contentOf(text)})
	for _, tt := range []struct {
		spec     string
		from, to int
	}{{"0-0", 0, 1}, {"1-1", 1, 2}, {"2-5", 2, 6}, {"3-", 3, 10000}, {"9998-", 9998, 10000}, {"-7", 9993, 10000}, {"4097-8200", 4097, 8201}} {
		got := a.want(http.StatusPartialContent, "GET", "/jobs/"+id+"/files/0", "", "Range", "bytes="+tt.spec)
		if want := text[tt.from:tt.to]; !bytes.Equal(got.body, want) {
			t.Errorf("bytes %s = %.20q, want %.20q", tt.spec, got.body, want)
		}
	}
	a.want(http.StatusRequestedRangeNotSatisfiable, "GET", "/jobs/"+id+"/files/0", "", "Range", "bytes=10000-")
	if got := a.want(http.StatusOK, "HEAD", "/jobs/"+id+"/files/0", ""); got.header.Get("Content-Length") != "10000" || len(got.body) != 0 {
		t.Errorf("HEAD: %v", got.header)
	}
}

// What a file claims to be never runs as a page of ours.
func TestFilesAreServedHarmlessly(t *testing.T) {
	a := serve(t, Config{})
	files := []struct{ name, mime, wantType, wantDisposition string }{
		{"a.png", "image/png", "image/png", `inline; filename=a.png`},
		{"b.mp4", "video/mp4", "video/mp4", `inline; filename=b.mp4`},
		{"c.flac", "audio/flac", "audio/flac", `inline; filename=c.flac`},
		{"d.svg", "image/svg+xml", "image/svg+xml", `attachment; filename=d.svg`},
		{"e.html", "text/html", "text/html; charset=utf-8", `attachment; filename=e.html`},
		{"f.glb", "model/gltf-binary", "model/gltf-binary", `attachment; filename=f.glb`},
		{"../ä\r\nX: y.png", "image/png\r\nX: y", "application/octet-stream", `attachment; filename*=utf-8''%C3%A4%0D%0AX%3A%20y.png`},
		{"g", "", "application/octet-stream", `attachment; filename=g`},
	}
	var list []job.File
	for _, f := range files {
		list = append(list, job.File{Filename: f.name, MIME: f.mime, Kind: "images", Content: contentOf([]byte("<script>"))})
	}
	id := a.finished(list...)
	for i, f := range files {
		h := a.want(http.StatusOK, "GET", fmt.Sprintf("/jobs/%s/files/%d", id, i), "").header
		if h.Get("Content-Type") != f.wantType || h.Get("Content-Disposition") != f.wantDisposition {
			t.Errorf("%s: %q %q, want %q %q", f.name, h.Get("Content-Type"), h.Get("Content-Disposition"), f.wantType, f.wantDisposition)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox;") {
			t.Errorf("%s: headers %v", f.name, h)
		}
	}
}

func TestFilesElsewhereAndNowhere(t *testing.T) {
	a := serve(t, Config{})
	a.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	const stored = "https://bucket.test/a.png?signature=1"
	id := a.finished(job.File{Filename: "a.png", Kind: "images", URL: stored, Content: contentOf([]byte("x"))})
	if got := a.list("").Jobs[0].Files[0].URL; got != stored {
		t.Errorf("url = %q, want the store's", got)
	}
	if got := a.want(http.StatusFound, "GET", "/jobs/"+id+"/files/0", "").header.Get("Location"); got != stored {
		t.Errorf("Location = %q, want the store's URL", got)
	}
	for _, n := range []string{"1", "-1", "x", "99999999999999999999"} {
		a.want(http.StatusNotFound, "GET", "/jobs/"+id+"/files/"+n, "")
	}
	a.want(http.StatusNotFound, "GET", "/jobs/"+a.submitJob()+"/files/0", "")
	a.want(http.StatusNotFound, "GET", "/jobs/nobody/files/0", "")
}
