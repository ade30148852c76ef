package comfytest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// An uploadForm is what a client asks for with a file.
type uploadForm struct {
	file            *multipart.FileHeader
	name            string
	kind, subfolder string
	overwrite       bool
}

// postUpload is POST /upload/image: it answers the name that the file got.
func (c *Comfy) postUpload(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseMultipartForm(32 << 20); err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			c.bodyError(w, err)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	form, status := readUploadForm(r)
	dir, known := c.directory(form.kind)
	switch {
	case status != http.StatusOK:
	case !known || form.name == "":
		status = http.StatusInternalServerError
	case !within(dir, filepath.Join(dir, form.subfolder)), !filepath.IsAbs(form.name) && !within(dir, filepath.Join(dir, form.subfolder, form.name)):
		status = http.StatusBadRequest
	case strings.Contains(form.name, "/"):
		status = http.StatusInternalServerError
	}
	if status == http.StatusBadRequest {
		w.WriteHeader(status)
		return
	}
	saved := ""
	var err error
	if status == http.StatusOK {
		saved, err = form.store(filepath.Join(dir, form.subfolder))
	}
	if status != http.StatusOK || err != nil {
		c.trouble(w)
		return
	}
	c.answer(w, http.StatusOK, obj("name", saved, "subfolder", form.subfolder, "type", form.kind))
}

// readUploadForm returns 400 for a form without a file, and 500 for one whose
// file has no name.
func readUploadForm(r *http.Request) (uploadForm, int) {
	files := r.MultipartForm.File["image"]
	if len(files) == 0 {
		if _, ok := r.MultipartForm.Value["image"]; ok {
			return uploadForm{}, http.StatusInternalServerError
		}
		return uploadForm{}, http.StatusBadRequest
	}
	form := uploadForm{file: files[0], name: rawFilename(files[0]), kind: r.FormValue("type"), subfolder: r.FormValue("subfolder")}
	if form.kind == "" {
		form.kind = "input"
	}
	form.overwrite = r.FormValue("overwrite") == "true" || r.FormValue("overwrite") == "1"
	return form, http.StatusOK
}

// rawFilename is the file name as the client sent it; mime/multipart keeps
// only its last element.
func rawFilename(h *multipart.FileHeader) string {
	_, params, err := mime.ParseMediaType(h.Header.Get("Content-Disposition"))
	if err != nil {
		return h.Filename
	}
	return params["filename"]
}

// store writes the file. One of the same name and bytes is kept; of other
// bytes it makes the new one " (1)".
func (u uploadForm) store(folder string) (string, error) {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return "", err
	}
	f, err := u.file.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	name, ext := u.name, filepath.Ext(u.name)
	for i := 1; !u.overwrite; i++ {
		old, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			break
		}
		if was := sha256.Sum256(old); bytes.Equal(was[:], sum.Sum(nil)) {
			return name, nil
		}
		name = fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(u.name, ext), i, ext)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	out, err := os.Create(filepath.Join(folder, name))
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, f)
	return name, errors.Join(err, out.Close())
}
