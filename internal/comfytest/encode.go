package comfytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// encode writes v as Python's json.dumps does: a blank after each comma and
// colon, everything outside ASCII escaped, and NaN and Infinity bare, which
// strict parsers refuse. A value that JSON does not know is an error.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := encodeTo(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// encoded is a value that is encoded already.
type encoded []byte

func encodeTo(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case string:
		encodeString(b, v)
	case int:
		b.WriteString(strconv.Itoa(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(formatFloat(v))
	case json.Number:
		b.WriteString(v.String())
	case encoded:
		b.Write(v)
	case []any:
		return encodeList(b, v)
	case *object:
		return encodeObject(b, v)
	default:
		return fmt.Errorf("encode value: object of type %T is not JSON serializable", v)
	}
	return nil
}

func encodeList(b *bytes.Buffer, l []any) error {
	b.WriteByte('[')
	for i, item := range l {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := encodeTo(b, item); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func encodeObject(b *bytes.Buffer, o *object) error {
	if o == nil {
		b.WriteString("null")
		return nil
	}
	b.WriteByte('{')
	for i, key := range o.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		encodeString(b, key)
		b.WriteString(": ")
		if err := encodeTo(b, o.vals[i]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func encodeString(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	plain := 0 // start of what can be copied as it is
	for i, r := range s {
		if r >= ' ' && r < 0x7f && r != '"' && r != '\\' {
			continue
		}
		b.WriteString(s[plain:i])
		plain = i + max(1, utf8.RuneLen(r))
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)): // a stray byte
			b.WriteString(`\ufffd`)
			plain = i + 1
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteString(s[plain:])
	b.WriteByte('"')
}

// formatFloat is Python's repr of a float: 4.0 and not 4.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if exp := math.Abs(f); exp >= 1e-4 && exp < 1e16 || f == 0 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}
