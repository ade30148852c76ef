package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain makes a text safe to show in a terminal, in one line: colours are taken
// out, and everything else that would move the cursor, begin a new line or turn
// the direction of writing is shown as an escape.
func plain(s string) string {
	if !strings.ContainsFunc(s, suspicious) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		if n := colour(s[i:]); n > 0 {
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i]), 16))
		case suspicious(r) && r != utf8.RuneError:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// suspicious tells whether r must not reach a terminal. What is no UTF-8 comes
// as RuneError.
func suspicious(r rune) bool {
	if r >= ' ' && r < 0x7f || r == '\t' {
		return false
	}
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) ||
		unicode.In(r, unicode.Zl, unicode.Zp)
}

// colour returns the length of the sequence at the beginning of s that sets
// colours (ESC [ numbers m), 0 if there is none.
func colour(s string) int {
	rest, ok := strings.CutPrefix(s, "\x1b[")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "0123456789;:")
	if !strings.HasPrefix(rest, "m") {
		return 0
	}
	return len(s) - len(rest) + 1
}
