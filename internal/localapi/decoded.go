package localapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// A decoded reads the bytes of a base64 text, from anywhere in it.
type decoded struct {
	text *io.SectionReader
	size int64 // of the bytes
	pos  int64
	next io.Reader // at pos; nil after a seek
}

func newDecoded(text *io.SectionReader, size int64) *decoded { return &decoded{text: text, size: size} }

func (d *decoded) Read(p []byte) (int, error) {
	if d.pos >= d.size {
		return 0, io.EOF
	}
	if d.next == nil {
		if err := d.open(); err != nil {
			return 0, err
		}
	}
	n, err := d.next.Read(p)
	d.pos += int64(n)
	return n, err
}

// open begins to decode at pos. Four letters are three bytes.
func (d *decoded) open() error {
	if _, err := d.text.Seek(d.pos/3*4, io.SeekStart); err != nil {
		return err
	}
	d.next = base64.NewDecoder(base64.StdEncoding, d.text)
	if _, err := io.CopyN(io.Discard, d.next, d.pos%3); err != nil {
		return fmt.Errorf("decode file at byte %d: %w", d.pos, err)
	}
	return nil
}

func (d *decoded) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += d.pos
	case io.SeekEnd:
		offset += d.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning of a file")
	}
	if offset != d.pos {
		d.pos, d.next = offset, nil
	}
	return offset, nil
}
