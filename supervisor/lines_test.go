package supervisor

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// split returns the lines of a stream that comes in the given pieces.
func split(pieces ...[]byte) (lines []string, cuts int) {
	var s splitter
	emit := func(line []byte, cut bool) {
		lines = append(lines, string(line))
		if cut {
			cuts++
		}
	}
	for _, p := range pieces {
		s.write(p, emit)
	}
	s.flush(emit)
	return lines, cuts
}

func TestSplitter(t *testing.T) {
	long := strings.Repeat("x", lineLimit)
	tests := []struct {
		name, in string
		want     []string
		cuts     int
	}{
		{"nothing", "", nil, 0},
		{"lines", "a\nb\n", []string{"a", "b"}, 0},
		{"blank line", "a\n\nb\n", []string{"a", "", "b"}, 0},
		{"no newline at the end", "a\nb", []string{"a", "b"}, 0},
		{"crlf", "a\r\nb\r\n", []string{"a", "b"}, 0},
		{"progress bar", "\r 10%\r 20%\r 30%\ndone\n", []string{" 10%", " 20%", " 30%", "done"}, 0},
		{"progress bar that ends its line", "50%\r100%\r\nnext", []string{"50%", "100%", "next"}, 0},
		{"only returns", "\r\r\r", nil, 0},
		{"longest line", long + "\nb\n", []string{long, "b"}, 0},
		{"longest line without end", long, []string{long}, 0},
		{"too long", long + "yyy\nb\n", []string{long, "b"}, 1},
		{"too long without end", long + "yyy", []string{long}, 1},
		{"too long twice", long + "y\r" + long + "y\r", []string{long, long}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, cuts := split([]byte(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" || cuts != tt.cuts {
				t.Errorf("cut %d, want %d; lines (-want +got):\n%s", cuts, tt.cuts, diff)
			}
			one, cuts := split(slices.Collect(slices.Chunk([]byte(tt.in), 1))...)
			if diff := cmp.Diff(tt.want, one); diff != "" || cuts != tt.cuts {
				t.Errorf("byte by byte: cut %d, want %d; lines (-want +got):\n%s", cuts, tt.cuts, diff)
			}
		})
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a\r\nb\n\rc"), uint16(3))
	f.Add([]byte("\r\n\r\r\n\n"), uint16(1))
	f.Add(bytes.Repeat([]byte("x"), lineLimit+1), uint16(lineLimit-1))
	f.Fuzz(func(t *testing.T, in []byte, at uint16) {
		whole, cuts := split(in)
		i := min(int(at), len(in))
		parts, partCuts := split(in[:i], in[i:])
		if !slices.Equal(whole, parts) || cuts != partCuts {
			t.Fatalf("in one piece %q, in two %q", whole, parts)
		}
		total := 0
		for _, l := range whole {
			if len(l) > lineLimit || strings.ContainsAny(l, "\r\n") {
				t.Fatalf("line of %d bytes, or with an end inside: %.80q", len(l), l)
			}
			total += len(l)
		}
		ends := bytes.Count(in, []byte("\n")) + bytes.Count(in, []byte("\r"))
		if cuts == 0 && total != len(in)-ends {
			t.Fatalf("%d bytes of text in %d bytes with %d ends", total, len(in), ends)
		}
		for _, l := range whole {
			if text := StripANSI(printable([]byte(l))); !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				t.Fatalf("not printable: %q", text)
			}
		}
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":          "plain",
		"a\x00b":         "a\uFFFDb",
		"a\xff\xfeb":     "a\uFFFDb",
		"grün":           "grün",
		"\x1b[32mok\x1b": "\x1b[32mok\x1b",
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStripANSI(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                 "plain",
		"\x1b[32m[INFO]\x1b[0m got":             "[INFO] got",
		"\x1b[1m\x1b[33m[WARNING]\x1b[0m x":     "[WARNING] x",
		"\x1b[32m[INFO]\x1b[0m \x1b[32mPrompt":  "[INFO] Prompt",
		"\x1b[2K\x1b[1Gbar":                     "bar",
		"\x1b]8;;https://x\x1b\\link\x1b]8;;\a": "link",
		"\x1b[38;5;12mx\x1b[m":                  "x",
		"open \x1b[":                            "open [",
	} {
		if got := StripANSI(in); got != want {
			t.Errorf("StripANSI(%q) = %q, want %q", in, got, want)
		}
	}
}
