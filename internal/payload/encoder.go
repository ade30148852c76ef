package payload

import (
	"encoding/base64"
	"encoding/binary"
	"io"
)

// chunk is how much of a file is encoded at a time: it makes the 32 KiB that
// net/http asks for. It is a multiple of 3, so that no padding appears in the
// middle.
const chunk = 24 << 10

// encoder turns a file into base64 text as it is read.
type encoder struct {
	src  io.Reader
	raw  []byte
	text [4]byte
	rest []byte // the part of text that is not yet read
	err  error
}

// newEncoder returns the text of what src yields, which is size bytes long. A
// small file needs a small buffer only.
func newEncoder(src io.Reader, size int64) io.Reader {
	return &encoder{src: src, raw: make([]byte, min(chunk, size/3*3+3))}
}

func (e *encoder) Read(p []byte) (int, error) {
	if len(p) >= len(e.text) && len(e.rest) == 0 {
		return e.fill(p)
	}
	if len(e.rest) == 0 {
		n, err := e.fill(e.text[:])
		if err != nil {
			return 0, err
		}
		e.rest = e.text[:n]
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// fill writes as much text into p, which has room for some, as there is.
func (e *encoder) fill(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := io.ReadFull(e.src, e.raw[:min(len(e.raw), len(p)/4*3)])
	if err == io.ErrUnexpectedEOF { // ReadFull's own word for "less than that was left"
		err = io.EOF
	}
	e.err = err
	if n == 0 {
		return 0, err
	}
	encode(p, e.raw[:n])
	return base64.StdEncoding.EncodedLen(n), nil
}

// encode does what base64.StdEncoding.Encode does, in half the time: it looks
// up two characters at once.
func encode(dst, src []byte) {
	for len(src) >= 8 && len(dst) >= 8 {
		v := binary.BigEndian.Uint64(src)
		binary.LittleEndian.PutUint64(dst, uint64(pairs[v>>52])|uint64(pairs[v>>40&0xfff])<<16|
			uint64(pairs[v>>28&0xfff])<<32|uint64(pairs[v>>16&0xfff])<<48)
		src, dst = src[6:], dst[8:]
	}
	base64.StdEncoding.Encode(dst, src)
}

// pairs are the two characters of each 12 bits, the first in the lower byte.
var pairs = func() (pairs [1 << 12]uint16) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for bits := range pairs {
		pairs[bits] = uint16(alphabet[bits>>6]) | uint16(alphabet[bits&63])<<8
	}
	return pairs
}()
