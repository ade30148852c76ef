package nodeinfo

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of what is guessed.
const (
	suggestions = 3
	longestName = 200 // nobody mistypes a longer one
)

// NearClasses returns the classes that name may have been meant to be, the
// nearest first, three at most. What the editor calls a class counts as its name.
func (i *Info) NearClasses(name string) []string {
	if i == nil {
		return nil
	}
	return nearest(name, maps.Keys(i.classes), func(class string) string { return i.classes[class].title })
}

// NearValues returns the values of an input that value may have been meant to
// be, the nearest first, three at most.
func (i *Info) NearValues(class, field, value string) []string {
	return Near(value, i.Values(class, field))
}

// Near returns the names that want may have been meant to be, the nearest first,
// three at most. Case, punctuation, folders and the extensions of models are no
// difference.
func Near(want string, names []string) []string {
	return nearest(want, slices.Values(names), func(string) string { return "" })
}

// nearest is Near for names that have a second name each, "" for none.
func nearest(want string, names func(yield func(string) bool), second func(string) string) []string {
	if len(want) > longestName {
		return nil
	}
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	m := newMeasure(want)
	for name := range names {
		d := m.distance(name)
		if other := second(name); other != "" {
			d = min(d, m.distance(other))
		}
		if d <= m.limit && name != want {
			found = append(found, candidate{name, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	var result []string
	for _, c := range found[:min(len(found), suggestions)] {
		result = append(result, c.name)
	}
	return result
}

// A measure tells how far names are from one wanted name.
type measure struct {
	want, base []byte // without what makes no difference, base without folders too
	limit      int    // a larger distance is no likeness

	name []byte // scratch
	row  []int
}

func newMeasure(want string) *measure {
	m := &measure{want: appendPlain(nil, want), base: appendPlain(nil, withoutFolders(want))}
	m.limit = min(max(2, len(m.base)/3), len(m.base)-1)
	return m
}

func (m *measure) distance(name string) int {
	m.name = appendPlain(m.name[:0], name)
	d := m.between(m.want, m.name)
	if base := withoutFolders(name); base != name || len(m.base) != len(m.want) {
		m.name = appendPlain(m.name[:0], base)
		d = min(d, m.between(m.base, m.name))
	}
	return d
}

// between is the edit distance of a and b. A name that holds the other whole is
// near although it may be much longer.
func (m *measure) between(a, b []byte) int {
	if len(a) == 0 || len(b) == 0 {
		return m.limit + 1
	}
	difference := max(len(a), len(b)) - min(len(a), len(b))
	within := min(len(a), len(b)) >= 3 && (bytes.Contains(a, b) || bytes.Contains(b, a))
	switch {
	case within:
		return min(difference, 1+difference/4)
	case difference > m.limit:
		return m.limit + 1
	}
	return m.levenshtein(a, b)
}

// levenshtein counts the insertions, deletions and replacements that make b of
// a. It gives up beyond the limit.
func (m *measure) levenshtein(a, b []byte) int {
	m.row = m.row[:0]
	for j := range len(b) + 1 {
		m.row = append(m.row, j)
	}
	for i := range len(a) {
		diagonal, least := m.row[0], i+1
		m.row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, m.row[j+1] = m.row[j+1], min(diagonal+cost, m.row[j]+1, m.row[j+1]+1)
			least = min(least, m.row[j+1])
		}
		if least > m.limit {
			break
		}
	}
	return m.row[len(b)]
}

// extensions of model files make no difference between names.
var extensions = []string{".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".gguf", ".sft"}

// appendPlain appends what counts of a name: letters in lower case, digits, and
// whatever is not ASCII. A plus is read as a p: dpm++ and dpmpp are the same.
func appendPlain(buf []byte, name string) []byte {
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		if slices.ContainsFunc(extensions, func(ext string) bool { return strings.EqualFold(name[dot:], ext) }) {
			name = name[:dot]
		}
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c == '+':
			buf = append(buf, 'p')
		case 'A' <= c && c <= 'Z':
			buf = append(buf, c-'A'+'a')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c >= utf8.RuneSelf:
			buf = append(buf, c)
		}
	}
	return buf
}

func withoutFolders(name string) string {
	return name[strings.LastIndexAny(name, `/\`)+1:]
}
