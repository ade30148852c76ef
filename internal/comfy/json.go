package comfy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// decode reads JSON as Python's json module writes it. A bare NaN, Infinity or
// -Infinity is read as null, and half a surrogate pair as U+FFFD. A value of the
// wrong type leaves its field as it was and is no error: nodes of any origin
// fill these documents.
func decode(data []byte, v any) error {
	data = wholePairs(data)
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		if clean, changed := nullNaN(data); changed {
			err = json.Unmarshal(clean, v)
		}
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		return nil
	}
	return err
}

var notNumbers = [][]byte{[]byte("NaN"), []byte("Infinity"), []byte("-Infinity")}

// nullNaN replaces NaN, Infinity and -Infinity outside of strings with null,
// and tells whether there were any. It does not change data itself.
func nullNaN(data []byte) (clean []byte, changed bool) {
	kept := 0 // data up to here is in clean
	for i := 0; i < len(data); {
		switch data[i] {
		case '"':
			i = endOfString(data, i)
		case 'N', 'I', '-':
			n := notNumber(data[i:])
			if n == 0 {
				i++
				continue
			}
			clean = append(append(clean, data[kept:i]...), "null"...)
			i += n
			kept = i
		default:
			i++
		}
	}
	if kept == 0 {
		return data, false
	}
	return append(clean, data[kept:]...), true
}

// notNumber returns the length of the token at the start of data that Python
// writes for a float that JSON has no number for, 0 if there is none.
func notNumber(data []byte) int {
	for _, token := range notNumbers {
		if bytes.HasPrefix(data, token) {
			return len(token)
		}
	}
	return 0
}

// wholePairs replaces escapes of half a surrogate pair. encoding/json reads them
// as U+FFFD by itself, but raw messages keep them, and strict readers refuse
// those. It does not change data itself.
func wholePairs(data []byte) []byte {
	clean := data
	for i := 0; ; {
		at := bytes.IndexByte(data[i:], '\\')
		if at < 0 || i+at+1 >= len(data) {
			return clean
		}
		i += at
		first := escaped(data[i:])
		switch {
		case !utf16.IsSurrogate(first):
			i += 2
		case utf16.DecodeRune(first, escaped(data[i+6:])) != utf8.RuneError:
			i += 12
		default:
			if &clean[0] == &data[0] {
				clean = bytes.Clone(data)
			}
			copy(clean[i:], `\ufffd`)
			i += 6
		}
	}
}

// escaped is the UTF-16 code unit that the start of data escapes, -1 if it does
// not.
func escaped(data []byte) rune {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}

// endOfString returns the index after the string that begins at data[i].
func endOfString(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// isObject tells whether raw is a JSON object, without reading it.
func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

// isList tells whether raw is a JSON list, without reading it.
func isList(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }

// cut shortens s to at most n bytes, at the border of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
