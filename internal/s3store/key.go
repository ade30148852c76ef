package s3store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

const (
	// DefaultKeyTemplate is where files go unless Config says otherwise.
	DefaultKeyTemplate = "{date}/{job_id}/{filename}"

	maxKey      = 1024 // bytes, in every store
	maxTemplate = 512  // leaves room for the names
	maxName     = 200  // stores on file systems allow 255, less what they append
)

// A keyTemplate is a template that parseTemplate has accepted.
type keyTemplate string

var (
	placeholder  = compile(`\{[^{}]*\}`)
	placeholders = []string{"{date}", "{job_id}", "{node}", "{filename}", "{name}", "{ext}", "{index}"}
)

// parseTemplate accepts a template whose keys stay inside its own prefix and
// are different for different files of different jobs.
func parseTemplate(s string) (keyTemplate, error) {
	s = strings.TrimLeft(s, "/")
	refuse := func(why string) (keyTemplate, error) {
		return "", fmt.Errorf("BUCKET_KEY_TEMPLATE %q %s", s, why)
	}
	for _, p := range placeholder().FindAllString(s, -1) {
		if !slices.Contains(placeholders, p) {
			return refuse("has the unknown placeholder " + p + ": there are " + strings.Join(placeholders, " "))
		}
	}
	literal := placeholder().ReplaceAllString(s, "x")
	has := func(p string) bool { return strings.Contains(s, p) }
	switch {
	case len(s) > maxTemplate:
		return "", fmt.Errorf("BUCKET_KEY_TEMPLATE is %d bytes long: use at most %d", len(s), maxTemplate)
	case strings.ContainsAny(literal, "{}"):
		return refuse("has a brace without its partner")
	case strings.ContainsFunc(literal, harmful):
		return refuse("has a control character, a backslash or broken UTF-8 in it")
	case slices.ContainsFunc(strings.Split(literal, "/"), unnamed):
		return refuse("has an empty folder, . or .. in it, or ends with a slash")
	case !has("{job_id}"):
		return refuse("lacks {job_id}: jobs would overwrite each other's files")
	case !has("{filename}") && !has("{index}") && !(has("{name}") && has("{ext}")):
		return refuse("needs {filename}, {index}, or {name}{ext}: files of one job would overwrite each other")
	}
	return keyTemplate(s), nil
}

// key names the object for the file f, the index-th of a job.
func (t keyTemplate) key(now time.Time, jobID string, index int, f job.File) string {
	filename := cleanPath(f.Subfolder, f.Filename)
	ext := extension(filename)
	key := strings.NewReplacer(
		"{date}", now.UTC().Format(time.DateOnly),
		"{job_id}", cleanName(jobID),
		"{node}", cleanName(cmp.Or(f.Node, "none")),
		"{filename}", filename,
		"{name}", strings.TrimSuffix(filename, ext),
		"{ext}", ext,
		"{index}", strconv.Itoa(index),
	).Replace(string(t))

	folders := strings.Split(key, "/")
	for i, name := range folders {
		if unnamed(name) {
			folders[i] = "_"
		}
	}
	if key = strings.Join(folders, "/"); len(key) > maxKey {
		return mark(key, key, maxKey)
	}
	return key
}

// cleanPath joins the subfolder and the name under which a file was saved.
func cleanPath(subfolder, filename string) string {
	var names []string
	for name := range strings.SplitSeq(subfolder, "/") {
		if name != "" {
			names = append(names, cleanName(name))
		}
	}
	return path.Join(append(names, cleanName(filename))...)
}

// cleanName makes a foreign name fit to stand between two slashes of a key.
// Different names stay different.
func cleanName(raw string) string {
	name := strings.Map(func(r rune) rune {
		if harmful(r) || r == '/' {
			return '_'
		}
		return r
	}, raw)
	if name != raw || unnamed(name) || len(name) > maxName {
		return mark(name, raw, maxName)
	}
	return name
}

// mark puts eight digits of raw's hash before the name's extension and cuts the
// name so that the whole has at most limit bytes.
func mark(name, raw string, limit int) string {
	sum := sha256.Sum256([]byte(raw))
	ext := extension(name)
	tail := "-" + hex.EncodeToString(sum[:4]) + ext
	stem := strings.TrimSuffix(name, ext)
	stem = stem[:min(len(stem), limit-len(tail))]
	return strings.ToValidUTF8(stem, "") + tail // the cut may have halved a letter
}

var extensionForm = compile(`^\.[A-Za-z0-9]{1,15}$`)

// extension is what follows the last dot of a name, with the dot, if it looks
// like the name of a type.
func extension(name string) string {
	if ext := path.Ext(name); extensionForm().MatchString(ext) {
		return ext
	}
	return ""
}

// unnamed tells the parts of a path that name nothing of their own.
func unnamed(s string) bool { return s == "" || s == "." || s == ".." }

// harmful tells what no key should hold: what cannot be seen, or written in the
// XML in which S3 lists keys, or what some systems take for a slash.
func harmful(r rune) bool {
	return r == utf8.RuneError || r == '\\' || !unicode.IsGraphic(r)
}
