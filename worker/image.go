package worker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// An image is an input file as the job brought it: base64 text that is decoded
// each time it is read.
type image struct {
	name string
	text string // without data URI, white space and padding
	enc  *base64.Encoding
	size int64 // when decoded
}

// open returns a reader of the decoded bytes.
func (i image) open() (io.ReadCloser, error) {
	return io.NopCloser(base64.NewDecoder(i.enc, strings.NewReader(i.text))), nil
}

// decodeImage takes base64 text in the forms that clients send: plain or as a
// data URI, with or without padding and line breaks, in the standard or the
// URL-safe alphabet. The bytes are checked but not kept.
func decodeImage(name, text string) (image, error) {
	if strings.HasPrefix(text, "data:") {
		head, data, found := strings.Cut(text, ",")
		if !found || !strings.HasSuffix(head, ";base64") {
			return image{}, errors.New(`the data URI is not of the form "data:image/png;base64,..."`)
		}
		text = data
	}
	text = strings.TrimRight(withoutSpace(text), "=")
	img := image{name: name, text: text, enc: base64.RawStdEncoding}
	if strings.ContainsAny(text, "-_") {
		img.enc = base64.RawURLEncoding
	}
	img.size = int64(img.enc.DecodedLen(len(text)))
	switch {
	case len(text)%4 == 1:
		return image{}, fmt.Errorf("the text is no base64: it ends after %d characters, in the middle of a byte", len(text))
	case img.size == 0:
		return image{}, errors.New("the image is empty")
	case img.size > maxImageBytes:
		return image{}, fmt.Errorf("the image has %d bytes: at most %d are taken", img.size, maxImageBytes)
	}
	r, _ := img.open()
	if n, err := io.Copy(io.Discard, r); err != nil || n != img.size {
		return image{}, fmt.Errorf("the text is no base64: %w", base64Fault(err, text))
	}
	return img, nil
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
