package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Foreign JSON beyond these limits is refused before it is decoded: ten
// megabytes of "{}" become 244 MB once they are decoded.
const (
	maxDepth  = 100
	maxTokens = 200_000
)

// checkShape reports JSON that is malformed, too deep or of too many parts. It
// looks at the bytes alone and allocates nothing.
func checkShape(raw []byte) error {
	if !json.Valid(raw) {
		return fmt.Errorf("the input is no JSON: %v", syntaxFault(raw))
	}
	depth, tokens := 0, 0
	inText, escaped := false, false
	for _, c := range raw {
		if inText {
			switch {
			case escaped:
				escaped = false
			case c == '\\':
				escaped = true
			case c == '"':
				inText = false
			}
			continue
		}
		switch c {
		case '"':
			inText = true
			tokens++
		case '{', '[':
			depth++
			tokens++
		case '}', ']':
			depth--
		case ',':
			tokens++
		}
		if depth > maxDepth {
			return fmt.Errorf("the input is nested deeper than %d levels", maxDepth)
		}
		if tokens > maxTokens {
			return fmt.Errorf("the input has more than %d parts", maxTokens)
		}
	}
	return nil
}

// syntaxFault finds out what is wrong with JSON that is not valid.
func syntaxFault(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	var any json.RawMessage
	switch err := dec.Decode(&any); {
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case err != nil:
		return err
	}
	return fmt.Errorf("text follows the value at byte %d", dec.InputOffset())
}

// jsonFault words an error of encoding/json for somebody who does not know our
// types.
func jsonFault(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("a %s stands at byte %d", kind.Value, kind.Offset)
	}
	return err.Error()
}
