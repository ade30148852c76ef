package worker

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// An inputFile is a file that a job brings or names.
type inputFile struct {
	where   string // in the input, such as "input.images[0]"
	name    string
	url     *url.URL    // that it is downloaded from, nil for one that came with the job
	content job.Content // nothing until it is downloaded
}

// The limits of files. The whole of an input is limited by its source, and what
// is downloaded by the fetch.Client.
const (
	maxInputFiles  = 64
	maxBase64Bytes = 50 << 20
	maxNameBytes   = 255
)

// A listedFile is one item of input.images or input.files.
type listedFile struct {
	Name  *string `json:"name"`
	Image *string `json:"image"` // base64, in input.images
	Data  *string `json:"data"`  // base64, in input.files
	URL   *string `json:"url"`
}

// parseFiles validates the files that a job brings or names, and returns every
// fault of them. Nothing is downloaded yet.
func parseFiles(fields map[string]json.RawMessage, urls *fetch.Client) (files []inputFile, faults []error) {
	for _, list := range []struct{ name, data string }{{"images", "image"}, {"files", "data"}} {
		raw := fields[list.name]
		if isNull(raw) {
			continue
		}
		want := fmt.Sprintf(`want a list of {"name": "a.png", %q: "<base64>"} or {"name": "a.png", "url": "https://..."}`, list.data)
		var items []listedFile
		if err := json.Unmarshal(raw, &items); err != nil {
			faults = append(faults, fmt.Errorf("input.%s is of another shape (%s): %s", list.name, jsonFault(err), want))
			continue
		}
		if len(items)+len(files) > maxInputFiles {
			return nil, append(faults, fmt.Errorf("input.%s makes %d files: at most %d are taken", list.name, len(items)+len(files), maxInputFiles))
		}
		for i, item := range items {
			f := inputFile{where: fmt.Sprintf("input.%s[%d]", list.name, i)}
			data := item.Image
			if list.data == "data" {
				data = item.Data
			}
			faults = append(faults, f.fill(item, data, list.data, want, urls)...)
			files = append(files, f)
		}
	}
	return files, append(faults, sameNames(files)...)
}

// fill takes an item over. Key is what its data is called there.
func (f *inputFile) fill(item listedFile, data *string, key, want string, urls *fetch.Client) (faults []error) {
	var err error
	field := key
	switch {
	case data == nil && item.URL == nil:
		faults = append(faults, fmt.Errorf("%s lacks both %s and url: %s", f.where, key, want))
	case data != nil && item.URL != nil:
		faults = append(faults, fmt.Errorf("%s has both %s and url: send one of them", f.where, key))
	case data != nil:
		if f.content, err = decodeBase64(*data); err == nil {
			err = checkPicture(f.content)
		}
	default:
		field = "url"
		f.url, err = urls.Check(*item.URL)
	}
	if err != nil {
		faults = append(faults, fmt.Errorf("%s.%s: %w", f.where, field, err))
	}
	if err := f.setName(item.Name); err != nil {
		faults = append(faults, err)
	}
	return faults
}

// setName takes the name that the job gives the file, or else the last part of
// its URL.
func (f *inputFile) setName(given *string) error {
	switch {
	case given != nil:
		if err := checkName(*given); err != nil {
			return fmt.Errorf("%s.name: %w", f.where, err)
		}
		f.name = *given
	case f.url != nil:
		last := lastPart(f.url)
		if err := checkName(last); err != nil {
			return fmt.Errorf("%s lacks a name, and the last part of its URL is none: %w", f.where, err)
		}
		f.name = last
	default:
		return fmt.Errorf("%s lacks a name", f.where)
	}
	return nil
}

// lastPart is what stands behind the last slash of a URL's path. An escaped slash
// is none: it becomes part of the name, and the name is refused.
func lastPart(u *url.URL) string {
	escaped := u.EscapedPath()
	last := escaped[strings.LastIndexByte(escaped, '/')+1:]
	if plain, err := url.PathUnescape(last); err == nil {
		return plain
	}
	return last
}

// sameNames returns a fault for each file whose name an earlier one has.
func sameNames(files []inputFile) (faults []error) {
	first := make(map[string]string)
	for _, f := range files {
		if where, again := first[f.name]; again && f.name != "" {
			faults = append(faults, fmt.Errorf("%s has the name %q, as %s has: give each file a name of its own", f.where, f.name, where))
			continue
		}
		first[f.name] = f.where
	}
	return faults
}

// checkName accepts plain file names only. ComfyUI takes a name that ends in
// "[output]", "[input]" or "[temp]" for one in another directory, and resolves
// "../" and absolute paths.
func checkName(name string) error {
	const want = `want a plain file name such as "a.png"`
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is no file name: %s", name, want)
	case len(name) > maxNameBytes-namePrefixBytes:
		return fmt.Errorf("%q... has %d bytes: at most %d are taken", name[:20], len(name), maxNameBytes-namePrefixBytes)
	case strings.ContainsAny(name, "/\\\x00") || strings.ContainsFunc(name, isControl):
		return fmt.Errorf("%q has a slash, a backslash or a control character: %s", name, want)
	case strings.Contains(name, ".."):
		return fmt.Errorf("%q has two dots in a row, which ComfyUI refuses: %s", name, want)
	case strings.HasPrefix(name, "-") || strings.HasPrefix(name, "."):
		return fmt.Errorf("%q begins with %q: %s", name, name[:1], want)
	case strings.TrimRight(name, ". ") != name || strings.TrimSpace(name) != name:
		return fmt.Errorf("%q begins or ends with a space or a dot: %s", name, want)
	case strings.HasSuffix(name, "]"):
		return fmt.Errorf("%q ends in ']', which ComfyUI takes for the name of a directory: %s", name, want)
	case strings.Contains(name, "%"):
		return fmt.Errorf("%q has a '%%', which may be an escaped character: %s", name, want)
	}
	return nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
