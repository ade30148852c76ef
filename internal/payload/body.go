package payload

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// A Body is a JSON document made of literal bytes and of files between them.
type Body struct {
	parts []part
	size  int64
	spans []Span
}

// A Span is where the base64 text of a file stands in a body.
type Span struct{ Offset, Length int64 }

// Spans are the places of the files that travel inside the output document, in
// the order in which [Output] was given them; files with a URL have none.
func (b *Body) Spans() []Span { return b.spans }

// part is either text or a file's content, encoded or as it is.
type part struct {
	text    []byte
	content *job.Content
	encode  bool
}

// Size is the exact number of bytes that a reader of the body yields.
func (b *Body) Size() int64 { return b.size }

// Reader returns a new reader of the whole body. It opens each file when it
// comes to it, fails if a file's length is not what its Content promised, and
// must be closed.
func (b *Body) Reader() io.ReadCloser { return &reader{rest: b.parts} }

// Raw returns a body that holds what c yields, which must be a JSON document.
func Raw(c job.Content) *Body {
	return &Body{parts: []part{{content: &c}}, size: c.Size}
}

// Object returns the JSON object of fields, in the order of their names, with
// inner as one more field called name. Without an inner body it holds the
// fields alone.
func Object(fields map[string]any, name string, inner *Body) (*Body, error) {
	if fields == nil {
		fields = map[string]any{} // nil would be written as null
	}
	head, err := encodeJSON(fields)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	if inner == nil {
		return text(head), nil
	}
	key, err := encodeJSON(name)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	open := head[:len(head)-1]
	if len(fields) > 0 {
		open = append(open, ',')
	}
	open = append(append(open, key...), ':')

	b := text(open)
	b.parts = append(b.parts, inner.parts...)
	b.size += inner.size
	b.add(part{text: []byte("}")})
	return b, nil
}

func text(s []byte) *Body {
	b := new(Body)
	b.add(part{text: s})
	return b
}

func (b *Body) add(p part) {
	switch {
	case p.content == nil:
		b.size += int64(len(p.text))
	case p.encode:
		b.size += int64(base64.StdEncoding.EncodedLen(int(p.content.Size)))
	default:
		b.size += p.content.Size
	}
	b.parts = append(b.parts, p)
}

// encodeJSON is json.Marshal without the escapes that make "&" in a URL
// unreadable to people.
func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
