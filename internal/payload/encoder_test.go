package payload

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func FuzzEncoder(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0xff})
	f.Add([]byte("a picture of some length, with \x00 and \xff in it"))
	f.Add(bytes.Repeat([]byte{0xfb, 0xef, 0xbe, 0x3f}, chunk/2))
	f.Fuzz(func(t *testing.T, raw []byte) {
		want := base64.StdEncoding.EncodeToString(raw)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":  func(r io.Reader) io.Reader { return r },
			"a byte": iotest.OneByteReader,
			"half":   iotest.HalfReader,
			"at end": iotest.DataErrReader,
		} {
			got, err := io.ReadAll(wrap(newEncoder(wrap(bytes.NewReader(raw)), int64(len(raw)))))
			if err != nil || string(got) != want {
				t.Errorf("%s: read %d characters of %d: %v", name, len(got), len(want), err)
			}
		}
	})
}

func TestEncoderPassesOnWhatBreaksTheFile(t *testing.T) {
	broken := errors.New("the disk is gone")
	r := newEncoder(io.MultiReader(bytes.NewReader(make([]byte, 3)), iotest.ErrReader(broken)), chunk)
	got, err := io.ReadAll(r)
	if string(got) != "AAAA" || !errors.Is(err, broken) {
		t.Errorf("read %q and %v, want AAAA and %v", got, err, broken)
	}
}

// BenchmarkEncode compares encode with the standard library's.
func BenchmarkEncode(b *testing.B) {
	raw, text := bytes.Repeat([]byte{0xfb, 0x17, 0x3c, 0x42}, chunk/4), make([]byte, chunk/3*4)
	for name, encode := range map[string]func(dst, src []byte){"ours": encode, "std": base64.StdEncoding.Encode} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(chunk)
			for b.Loop() {
				encode(text, raw)
			}
		})
	}
}
