// Package docs is those documents of this folder that the program shows.
package docs

import _ "embed"

// Errors says why jobs fail, and what to do about it.
//
//go:embed errors.md
var Errors string
