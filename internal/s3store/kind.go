package s3store

import (
	"mime"
	"path"
	"slices"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A kind is a type of content that objects may be labelled with.
type kind struct {
	mime string
	exts []string
	// download keeps browsers from opening the file in a page, because it may
	// hold scripts that would run in the name of the store's host.
	download bool
}

// kinds is everything that objects are labelled with, most common first.
var kinds = []kind{
	{mime: "image/png", exts: []string{".png", ".apng"}},
	{mime: "image/jpeg", exts: []string{".jpg", ".jpeg"}},
	{mime: "image/webp", exts: []string{".webp"}},
	{mime: "image/gif", exts: []string{".gif"}},
	{mime: "image/avif", exts: []string{".avif"}},
	{mime: "image/jxl", exts: []string{".jxl"}},
	{mime: "image/bmp", exts: []string{".bmp"}},
	{mime: "image/tiff", exts: []string{".tif", ".tiff"}},
	{mime: "image/x-exr", exts: []string{".exr"}},
	{mime: "image/svg+xml", exts: []string{".svg"}, download: true},
	{mime: "video/mp4", exts: []string{".mp4", ".m4v"}},
	{mime: "video/webm", exts: []string{".webm"}},
	{mime: "video/quicktime", exts: []string{".mov"}},
	{mime: "video/x-matroska", exts: []string{".mkv"}},
	{mime: "video/x-msvideo", exts: []string{".avi"}},
	{mime: "audio/flac", exts: []string{".flac"}},
	{mime: "audio/mpeg", exts: []string{".mp3"}},
	{mime: "audio/ogg", exts: []string{".ogg", ".opus"}},
	{mime: "audio/wav", exts: []string{".wav"}},
	{mime: "audio/mp4", exts: []string{".m4a"}},
	{mime: "audio/aac", exts: []string{".aac"}},
	{mime: "model/gltf-binary", exts: []string{".glb"}},
	{mime: "model/gltf+json", exts: []string{".gltf"}},
	{mime: "model/obj", exts: []string{".obj"}},
	{mime: "model/stl", exts: []string{".stl"}},
	{mime: "application/json", exts: []string{".json"}},
	{mime: "text/plain", exts: []string{".txt"}},
	{mime: "application/pdf", exts: []string{".pdf"}, download: true},
	{mime: "application/zip", exts: []string{".zip"}, download: true},
}

// unknown labels what is none of the kinds, HTML above all.
var unknown = kind{mime: "application/octet-stream", download: true}

// kindOf tells what to label a file with. What its content was found to be
// counts for more than its name, unless that was found to be nothing special.
func kindOf(f job.File) kind {
	told, _, _ := mime.ParseMediaType(f.MIME)
	switch told {
	case "audio/x-wav", "audio/wave":
		told = "audio/wav"
	case "image/vnd.mozilla.apng":
		told = "image/png"
	case "", "application/octet-stream", "text/plain":
		return kindNamed(f.Filename, told)
	}
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.mime == told }); i >= 0 {
		return kinds[i]
	}
	return unknown
}

// kindNamed goes by the extension, and by told if that says nothing.
func kindNamed(filename, told string) kind {
	ext := strings.ToLower(path.Ext(filename))
	for _, k := range kinds {
		if slices.Contains(k.exts, ext) || ext == "" && told == k.mime {
			return k
		}
	}
	return unknown
}

// disposition is the Content-Disposition header, nil if there is none.
func (k kind) disposition() *string {
	if !k.download {
		return nil
	}
	attachment := "attachment"
	return &attachment
}
