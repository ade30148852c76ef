package worker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// decodeBase64 takes base64 text in the forms that clients send: plain or as a
// data URI, with or without padding and line breaks, in the standard or the
// URL-safe alphabet. The bytes are checked but not kept: they are decoded each
// time they are read.
func decodeBase64(text string) (job.Content, error) {
	switch {
	case strings.HasPrefix(text, "http://"), strings.HasPrefix(text, "https://"):
		return job.Content{}, errors.New(`it is a URL, not base64: send it as "url"`)
	case strings.HasPrefix(text, "data:"):
		head, data, found := strings.Cut(text, ",")
		if !found || !strings.HasSuffix(head, ";base64") {
			return job.Content{}, errors.New(`the data URI is not of the form "data:image/png;base64,..."`)
		}
		text = data
	}
	if len(text) > 2*maxBase64Bytes { // not even with white space between all of it
		return job.Content{}, tooLarge(int64(len(text)) / 4 * 3)
	}
	text = strings.TrimRight(withoutSpace(text), "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	size := int64(enc.DecodedLen(len(text)))
	switch {
	case len(text)%4 == 1:
		return job.Content{}, fmt.Errorf("the text is no base64: it ends after %d characters, in the middle of a byte", len(text))
	case size == 0:
		return job.Content{}, errors.New("the file is empty")
	case size > maxBase64Bytes:
		return job.Content{}, tooLarge(size)
	}
	open := func() (io.ReadCloser, error) {
		return io.NopCloser(base64.NewDecoder(enc, strings.NewReader(text))), nil
	}
	r, _ := open()
	if n, err := io.Copy(io.Discard, r); err != nil || n != size {
		return job.Content{}, fmt.Errorf("the text is no base64: %w", base64Fault(err, text))
	}
	return job.Content{Size: size, Open: open}, nil
}

func tooLarge(size int64) error {
	return fmt.Errorf(`the file has %d bytes: at most %d are taken as base64; send a larger one as "url"`, size, maxBase64Bytes)
}

func base64Fault(err error, text string) error {
	var at base64.CorruptInputError
	if errors.As(err, &at) && int64(at) < int64(len(text)) {
		return fmt.Errorf("%q stands at character %d", text[at], int64(at))
	}
	return err
}

// withoutSpace returns text without white space, and text itself if there is none.
func withoutSpace(text string) string {
	if !strings.ContainsAny(text, " \t\r\n") {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n':
			return -1
		}
		return r
	}, text)
}
