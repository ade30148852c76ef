package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestScrubberFindsEveryForm(t *testing.T) {
	quote := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	basic := func(e *base64.Encoding, s string) string { return e.EncodeToString([]byte(s)) }
	texts := map[string]string{
		"raw":                 "key=" + canary + ";",
		"query":               "https://x.test/?k=" + url.QueryEscape(canary),
		"path":                "https://x.test/" + url.PathEscape(canary) + "/y",
		"lower-case escapes":  strings.ToLower(url.QueryEscape(canary)),
		"python quote":        strings.ReplaceAll(url.QueryEscape(canary), "%2F", "/"),
		"json":                quote(map[string]string{"k": canary}),
		"escaped slash":       strings.ReplaceAll(quote(canary), "/", `\/`),
		"go quoted":           fmt.Sprintf("Get %q: refused", canary),
		"go quoted ascii":     fmt.Sprintf("%+q", canary),
		"quoted in json":      quote(fmt.Sprintf("Get %q: refused", canary)),
		"json in json":        quote(quote(canary)),
		"base64":              basic(base64.StdEncoding, canary),
		"base64 raw":          basic(base64.RawStdEncoding, canary),
		"base64 url":          basic(base64.URLEncoding, canary),
		"base64 alignment 1":  basic(base64.StdEncoding, "x"+canary+"yy"),
		"base64 alignment 2":  basic(base64.StdEncoding, "xx"+canary+"y"),
		"base64 alignment 0":  basic(base64.StdEncoding, "xxx"+canary),
		"base64 url in chain": basic(base64.RawURLEncoding, "user:"+canary+":tail"),
	}
	// What must not be left, besides the secret itself: its middle, so that a
	// form that is replaced only in part is noticed.
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			var s Scrubber
			if s.String(text) != text {
				t.Fatal("a scrubber without values changes text")
			}
			s.Add(canary)
			got := s.String(text)
			if !strings.Contains(got, Mask) {
				t.Errorf("left as it is: %s", got)
			}
			if strings.Contains(got, "4f1d9a") {
				t.Errorf("still shows the middle of the secret: %s", got)
			}
			if string(s.Bytes([]byte(text))) != got {
				t.Errorf("Bytes and String differ: %s", got)
			}
		})
	}
}

func TestScrubberReplacesAllOfOverlappingSecrets(t *testing.T) {
	var s Scrubber
	s.Add("abcdefgh", "abcdefghijkl", "efghXXXX")
	tests := []struct{ text, want string }{
		{"<abcdefgh>", "<***>"},
		{"<abcdefghijkl>", "<***>"},
		{"<abcdefghXXXX>", "<***>"},
		{"<abcdefghabcdefgh>", "<******>"},
		{"<abcdefg>", "<abcdefg>"},
		{"abcdefgh", "***"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := s.String(tt.text); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestScrubberLeavesShortValuesAlone(t *testing.T) {
	var s Scrubber
	s.Add("", "true", "1234567")
	const text = "true 1234567"
	if got := s.String(text); got != text {
		t.Errorf("got %q, want %q", got, text)
	}
}

func TestScrubberForgetsOnlyWhenEveryoneHas(t *testing.T) {
	const key = "job-key-1"
	var s Scrubber
	first, second := s.Add(key), s.Add(key)
	first()
	first()
	if got := s.String(key); got != Mask {
		t.Errorf("after one of two forgot it: %q, want %q", got, Mask)
	}
	second()
	if got := s.String(key); got != key {
		t.Errorf("after both forgot it: %q, want %q", got, key)
	}
}

func TestScrubberHidesEachLineOfALongValue(t *testing.T) {
	var s Scrubber
	s.Add("-----BEGIN KEY-----\nMIIEvQIBADANBg\r\nshort\n")
	got := s.String("a MIIEvQIBADANBg b short")
	if want := "a *** b short"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriterFindsSecretsAcrossWrites(t *testing.T) {
	const text = "first " + canary + " x\nsecond " + canary
	for cut := range len(text) {
		var s Scrubber
		s.Add(canary)
		var out bytes.Buffer
		w := s.Writer(&out)
		for _, part := range []string{text[:cut], text[cut:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if want := "first *** x\nsecond ***"; out.String() != want {
			t.Fatalf("cut at %d: got %q, want %q", cut, out.String(), want)
		}
	}
}

func TestWriterPassesWholeLinesAtOnce(t *testing.T) {
	var s Scrubber
	s.Add(canary)
	var out bytes.Buffer
	w := s.Writer(&out)
	fmt.Fprint(w, "one\ntw")
	if out.String() != "one\n" {
		t.Errorf("got %q, want the first line and no more", out.String())
	}
	fmt.Fprint(w, "o\n")
	if out.String() != "one\ntwo\n" {
		t.Errorf("got %q, want both lines", out.String())
	}
}

func TestWriterBoundsWhatItHoldsOfAnEndlessLine(t *testing.T) {
	var s Scrubber
	s.Add(canary)
	var out bytes.Buffer
	w := s.Writer(&out)
	line := strings.Repeat("0123456789", maxHeld/10) + canary[:5]
	fmt.Fprint(w, line)
	fmt.Fprint(w, canary[5:]+strings.Repeat("z", maxHeld))
	if len(w.held) > maxHeld {
		t.Errorf("holds %d bytes, want at most %d", len(w.held), maxHeld)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(line+canary[5:]+strings.Repeat("z", maxHeld), canary, Mask)
	if out.String() != want {
		t.Errorf("got %d bytes, want %d with the secret replaced", out.Len(), len(want))
	}
}

// FuzzWriter cuts a text that holds a secret at random places: the secret must
// never come through, and the cuts must make no difference.
func FuzzWriter(f *testing.F) {
	f.Add("hunter2-hunter2", "user hunter2-hunter2\n", "\nend", uint64(1))
	f.Add("aaaaaaaa", "aaaaaaaaaaaaaaaaaaa", "a\naaa", uint64(7))
	f.Add(canary, "{\"k\":\"", "\"}", uint64(99))
	f.Fuzz(func(t *testing.T, key, before, after string, cuts uint64) {
		if len(key)+len(before)+len(after) > 1<<10 {
			t.Skip("long texts make it slow and find nothing more")
		}
		if len(key) < MinLength || strings.ContainsAny(key, "*\n") {
			t.Skip("not a value that is looked for in one piece, or part of the mask")
		}
		var s Scrubber
		s.Add(key)
		for _, form := range append(forms(key), base64.StdEncoding.EncodeToString([]byte("u:"+key))) {
			text := before + form + after
			got := writeInPieces(t, &s, text, cuts)
			if strings.Contains(got, key) {
				t.Fatalf("%q comes through in %q", key, got)
			}
			if want := s.String(text); got != want {
				t.Fatalf("cuts change the text: got %q, want %q", got, want)
			}
		}
	})
}

// writeInPieces writes text in pieces of 1 to 8 bytes, of which cuts holds the
// lengths, three bits each, again and again.
func writeInPieces(t *testing.T, s *Scrubber, text string, cuts uint64) string {
	t.Helper()
	var out bytes.Buffer
	w := s.Writer(&out)
	for i := 0; len(text) > 0; i += 3 {
		n := min(int(cuts>>(i%63)&7)+1, len(text))
		if _, err := w.Write([]byte(text[:n])); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func BenchmarkScrubberNothingMatches(b *testing.B) {
	var s Scrubber
	for i := range 10 {
		s.Add(fmt.Sprintf("wJalrXUtnFEMI/K7MDENG/bPxRfiCY%d", i))
	}
	line := []byte("2026-01-02T15:04:05.000Z INFO worker job done {\"job\": \"sync-4f1d9a1e-u1\", \"elapsed\": \"12.3s\"}\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		s.Bytes(line)
	}
}

func BenchmarkScrubberOneMatches(b *testing.B) {
	var s Scrubber
	s.Add(canary)
	line := []byte("2026-01-02T15:04:05.000Z WARN upload https://x.test/?k=" + url.QueryEscape(canary) + " refused\n")
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		s.Bytes(line)
	}
}
