package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/comfyvisor/comfyvisor/docs"
)

//go:embed web
var web embed.FS

// policy lets the page run its own scripts and talk to its own server, and no
// other. Pictures and films may also come from where results were stored.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
	"img-src 'self' blob: data: https:; media-src 'self' blob: https:; manifest-src 'none'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// A page is one file of the page, with its tag.
type page struct {
	name, tag string
	content   []byte
}

type pages map[string]page

func newPages() pages {
	all := make(pages)
	files, err := web.ReadDir("web")
	if err != nil {
		panic(err) // embedded: it cannot be missing
	}
	for _, f := range files {
		content, err := web.ReadFile(path.Join("web", f.Name()))
		if err != nil {
			panic(err)
		}
		all.add(f.Name(), content)
	}
	all.add(causesFile, causesOf(docs.Errors))
	return all
}

func (p pages) add(name string, content []byte) {
	sum := sha256.Sum256(content)
	p[name] = page{name, `"` + hex.EncodeToString(sum[:8]) + `"`, content}
}

func (p pages) index(w http.ResponseWriter, r *http.Request) { p.serve(w, r, "index.html") }

func (p pages) asset(w http.ResponseWriter, r *http.Request) { p.serve(w, r, r.PathValue("file")) }

func (p pages) serve(w http.ResponseWriter, r *http.Request, name string) {
	found, ok := p[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	guard(w.Header())
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "no-cache") // asked for again, and answered with 304
	w.Header().Set("ETag", found.tag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(found.content))
}

// guard sets what keeps a browser from guessing, framing and telling others.
func guard(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}
