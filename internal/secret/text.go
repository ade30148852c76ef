package secret

import (
	"fmt"
	"io"
)

// Mask is what stands in the place of a secret.
const Mask = "***"

// Text is a secret string. Its zero value is empty. Two Texts are compared by
// their revealed values, never with ==.
type Text struct {
	// The value is behind a pointer because fmt calls no methods on unexported
	// fields: inside such a field it would print the string as it is, but of a
	// pointer it prints the address.
	value *string
}

// New makes a secret of s.
func New(s string) Text { return Text{&s} }

// Reveal returns the secret itself, for the one who has to send it.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// Empty tells whether there is no secret.
func (t Text) Empty() bool { return t.Reveal() == "" }

// String returns the mask; zap uses it for fields.
func (Text) String() string { return Mask }

// Format prints the mask for every verb.
func (Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Mask) }

// MarshalText returns the mask, which JSON, XML and flags use.
func (Text) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// UnmarshalText takes b as the secret, so that parsers can fill a Text.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}
