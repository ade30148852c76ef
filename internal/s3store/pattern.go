package s3store

import (
	"regexp"
	"sync"
)

// A pattern is a regular expression that is compiled when it is first asked
// for. Every start of the program would pay 2 ms for them, twice, and most pods
// have no bucket.
type pattern func() *regexp.Regexp

func compile(expr string) pattern {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
