package secret

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// forms returns the spellings of value that a scrubber looks for, of which some
// may be equal. None holds a newline: a value of several lines is looked for
// line by line, and as a whole where it is escaped.
func forms(value string) []string {
	var all []string
	for line := range strings.Lines(value) {
		all = append(all, strings.TrimRight(line, "\r\n"))
	}
	all = append(all, urlForms(value)...)
	all = append(all, quotedForms(value)...)
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		all = append(all, base64Forms(e, value)...)
	}
	return all
}

// urlForms are those of url.QueryEscape and url.PathEscape, and of encoders
// that write %20 for a space, leave the slash alone (Python's quote) or write
// hexadecimal digits in lower case.
func urlForms(value string) []string {
	query := url.QueryEscape(value)
	all := []string{
		query,
		url.PathEscape(value),
		strings.ReplaceAll(query, "+", "%20"),
		strings.ReplaceAll(query, "%2F", "/"),
		strings.ReplaceAll(strings.ReplaceAll(query, "+", "%20"), "%2F", "/"),
	}
	for _, s := range all {
		all = append(all, percent.ReplaceAllStringFunc(s, strings.ToLower))
	}
	return all
}

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

// quotedForms are those of a string inside JSON or Go's %q, and of such a string
// inside another: an error that quotes a value, in a line of JSON.
func quotedForms(value string) []string {
	once := quotedOnce(value)
	all := once
	for _, s := range once {
		all = append(all, quotedOnce(s)...)
	}
	return all
}

// quotedOnce are the insides of JSON strings, with and without the escapes for
// HTML, for other alphabets and for the slash, and of Go's %q.
func quotedOnce(value string) []string {
	var plain strings.Builder
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(value)
	html, _ := json.Marshal(value)
	all := []string{
		strings.TrimSpace(plain.String()),
		string(html),
		strconv.Quote(value),
		strconv.QuoteToASCII(value),
	}
	for i, s := range all {
		all[i] = s[1 : len(s)-1]
	}
	for _, s := range all {
		all = append(all, strings.ReplaceAll(s, "/", `\/`))
	}
	return all
}

// base64Forms are the encodings of value alone and of value inside something
// longer, such as user:password. In the latter the characters that value alone
// decides depend on where in a group of three bytes it starts.
func base64Forms(e *base64.Encoding, value string) []string {
	raw := e.WithPadding(base64.NoPadding)
	all := []string{e.EncodeToString([]byte(value)), raw.EncodeToString([]byte(value))}
	for before := range 3 {
		encoded := raw.EncodeToString(append(make([]byte, before), value...))
		first := (before*8 + 5) / 6
		end := (before + len(value)) * 8 / 6
		all = append(all, encoded[first:end])
	}
	return all
}
