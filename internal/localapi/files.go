package localapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// outputFile is a file of a job that completed.
type outputFile struct {
	Index     int    `json:"index"`
	Filename  string `json:"filename"`
	Subfolder string `json:"subfolder"`
	Kind      string `json:"kind"`
	MIME      string `json:"mime_type"`
	Node      string `json:"node_id"`
	Size      int64  `json:"size"`
	// URL is where the bytes are: a path of this server, or the store's own.
	URL string `json:"url"`

	// span is where they stand in the job's document, of no length for a file
	// that is in a store.
	span payload.Span
}

// outputFiles lists the files of an output, whose document is body.
func outputFiles(id string, files []job.File, body *payload.Body) []outputFile {
	spans := body.Spans()
	list := make([]outputFile, len(files))
	for i, f := range files {
		list[i] = outputFile{
			Index: i, Filename: f.Filename, Subfolder: f.Subfolder, Kind: f.Kind,
			MIME: f.MIME, Node: f.Node, Size: f.Content.Size, URL: f.URL,
		}
		if f.URL == "" && len(spans) > 0 {
			list[i].URL = fmt.Sprintf("/jobs/%s/files/%d", url.PathEscape(id), i)
			list[i].span, spans = spans[0], spans[1:]
		}
	}
	return list
}

var errNoFile = errors.New("the job has no file of this number")

// file returns a file of a job, and the document that it is in.
func (s *store) file(id string, index int) (outputFile, *document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(id)
	if err != nil {
		return outputFile{}, nil, err
	}
	if index < 0 || index >= len(r.outcome.files) {
		return outputFile{}, nil, fmt.Errorf("%w: it is %s and has %d files", errNoFile, r.state, len(r.outcome.files))
	}
	return r.outcome.files[index], r.outcome.output, nil
}

// file answers with the bytes of a file, or with the way to them.
func (s *Server) file(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		index = -1
	}
	f, d, err := s.store.file(r.PathValue("id"), index)
	if err != nil {
		s.refuse(w, err)
		return
	}
	if f.span.Length == 0 && f.Size > 0 {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, f.URL, http.StatusFound)
		return
	}
	from, closer, err := d.at()
	if err != nil {
		s.refuse(w, err)
		return
	}
	defer closer.Close()
	h := w.Header()
	h.Set("Content-Type", contentType(f.MIME))
	h.Set("Content-Disposition", disposition(f))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'")
	h.Set("Cache-Control", "private, max-age=3600") // the bytes under this name never change
	content := newDecoded(io.NewSectionReader(from, f.span.Offset, f.span.Length), f.Size)
	http.ServeContent(&steady{patientWriter{w, s.cfg.IdleTimeout}, w}, r, "", d.made, content)
}

// steady is the http.ResponseWriter whose body is a patientWriter's.
type steady struct {
	patientWriter
	http.ResponseWriter
}

func (s *steady) Write(b []byte) (int, error) { return s.patientWriter.Write(b) }

// contentType is what a browser is told of a file. What is no type at all is
// some bytes.
func contentType(told string) string {
	kind, _, err := mime.ParseMediaType(told)
	switch {
	case err != nil:
		return "application/octet-stream"
	case strings.HasPrefix(kind, "text/"):
		return kind + "; charset=utf-8"
	}
	return kind
}

// disposition lets a browser show pictures, videos and sound, and save the rest:
// that may hold scripts.
func disposition(f outputFile) string {
	kind := contentType(f.MIME)
	how := "attachment"
	for _, shown := range []string{"image/", "video/", "audio/"} {
		if strings.HasPrefix(kind, shown) && kind != "image/svg+xml" {
			how = "inline"
		}
	}
	if told := mime.FormatMediaType(how, map[string]string{"filename": path.Base(f.Filename)}); told != "" {
		return told
	}
	return how
}
