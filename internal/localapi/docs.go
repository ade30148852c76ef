package localapi

import (
	"embed"
	"io/fs"
	"net/http"
	"path"

	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"
)

// docs are the description of the routes, and the page that shows it.
//
//go:embed docs
var docs embed.FS

// docFiles is where the page's files are.
const docFiles = "/docs/"

// docPaths are what docsHandler answers, for everybody.
var docPaths = []string{"/openapi.json", "/docs", docFiles}

// docsHandler serves the description at /openapi.json, and at /docs a page to
// read and try it, which needs nothing from elsewhere.
func docsHandler() http.Handler {
	own, _ := fs.Sub(docs, "docs") // is there: it is embedded
	swagger := http.StripPrefix(docFiles, statigz.FileServer(static.FS))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		switch name := path.Base(r.URL.Path); {
		case r.URL.Path == "/docs" || r.URL.Path == docFiles:
			http.ServeFileFS(w, r, own, "index.html")
		case name == "openapi.json" || name == "start.js":
			h.Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, own, name)
		default:
			swagger.ServeHTTP(w, r)
		}
	})
}
