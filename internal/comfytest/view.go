package comfytest

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// getView is GET /view. Symbolic links are followed.
func (c *Comfy) getView(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !q.Has("filename") {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	name, kind := q.Get("filename"), "output"
	for _, suffix := range []string{"output", "input", "temp"} {
		if rest, ok := strings.CutSuffix(name, " ["+suffix+"]"); ok {
			name, kind = rest, suffix
		}
	}
	if q.Has("type") {
		kind = q.Get("type")
	}
	dir, ok := c.directory(kind)
	if !ok || name == "" || name[0] == '/' || strings.Contains(name, "..") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	folder := filepath.Join(dir, q.Get("subfolder"))
	if filepath.IsAbs(q.Get("subfolder")) {
		folder = filepath.Clean(q.Get("subfolder"))
	}
	if !within(dir, folder) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	file := filepath.Join(folder, path.Base(name))
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	c.sendFile(w, r, file)
}

func (c *Comfy) sendFile(w http.ResponseWriter, r *http.Request, file string) {
	f, err := os.Open(file)
	if err != nil {
		c.trouble(w)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Disposition", fmt.Sprintf("filename=%q", filepath.Base(file)))
	if q := r.URL.Query(); q.Has("preview") || q.Get("channel") != "" && q.Get("channel") != "rgba" {
		c.sendConverted(w, f, q.Get("preview"), q.Get("channel"))
		return
	}
	kind, _, _ := strings.Cut(mime.TypeByExtension(filepath.Ext(file)), ";")
	switch kind {
	case "":
		kind = "application/octet-stream"
	case "text/html", "text/javascript", "application/javascript", "text/css", "image/svg+xml", "text/xml", "application/xml":
		if c.gen.forcedDownload {
			w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", filepath.Base(file)))
			w.Header().Set("X-Content-Type-Options", "nosniff")
		} else if kind == "image/svg+xml" || strings.HasSuffix(kind, "xml") {
			break
		}
		kind = "application/octet-stream"
	}
	w.Header().Set("Content-Type", kind)
	info, err := f.Stat()
	if err != nil {
		c.trouble(w)
		return
	}
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// sendConverted answers with the picture in another format. There is no WebP
// here, so a preview is always a JPEG.
func (c *Comfy) sendConverted(w http.ResponseWriter, f io.Reader, preview, channel string) {
	img, _, err := image.Decode(f)
	if err != nil {
		c.trouble(w)
		return
	}
	if channel == "a" {
		p := photo(img)
		img = (&picture{p.w, p.h, 1, func(_, x, y int) color.RGBA { return color.RGBA{0, 0, 0, p.at(0, x, y).A} }}).frame(0)
	}
	var b bytes.Buffer
	if preview == "" {
		w.Header().Set("Content-Type", "image/png")
		err = png.Encode(&b, img)
	} else {
		w.Header().Set("Content-Type", "image/jpeg")
		err = jpeg.Encode(&b, img, nil)
	}
	if err != nil {
		c.trouble(w)
		return
	}
	_, _ = w.Write(b.Bytes())
}
