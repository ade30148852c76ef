package gpuerror

import (
	"slices"
	"strconv"
	"strings"
)

// after returns what follows pattern in text, which has to begin with it. A * in
// the pattern stands for anything up to the next of its words; one at its end
// takes all the rest.
func after(pattern, text string) (rest string, ok bool) {
	first, others, gap := strings.Cut(pattern, "*")
	if text, ok = strings.CutPrefix(text, first); !ok {
		return "", false
	}
	for gap {
		if others == "" {
			return "", true
		}
		first, others, gap = strings.Cut(others, "*")
		if _, text, ok = strings.Cut(text, first); !ok {
			return "", false
		}
	}
	return text, true
}

// tails are what may follow a whole phrase on its line.
var tails = []string{"'", ")", ".", ",", ";", " ;", " (", " at ", " in ", " when calling ", " Exception raised "}

// advice is how the lines begin that torch puts below its errors. Where somebody
// joined the lines, they are tails too.
var advice = []string{
	"Search for `",
	"CUDA kernel errors ",
	"HIP kernel errors ",
	"For debugging ",
	"For more detailed ",
	"Compile with `",
	"Device-side assertion ",
}

// whole reports whether rest, which follows a phrase, lets it end there: in
// "operation not supported on global/shared address space" the first three words
// are no phrase.
func whole(rest string) bool {
	return strings.TrimSpace(rest) == "" || hasPrefix(rest, tails) || hasPrefix(strings.TrimLeft(rest, " "), advice)
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// find returns the first rule whose words text begins with.
func find(rules []rule, text string) (Finding, bool) {
	for _, r := range rules {
		if rest, ok := after(r.words, text); ok && whole(rest) {
			return r.finding(), true
		}
	}
	return Finding{}, false
}

// byCode returns the phrase of a bare number.
func byCode(number string) (Finding, bool) {
	code, err := strconv.Atoi(number)
	for _, r := range phrases {
		if err == nil && r.code == code && code != 0 {
			return r.finding(), true
		}
	}
	return Finding{}, false
}

// behind looks for rules behind heads. Where one of the heads is there and no
// rule fits, the finding is Unknown.
func behind(heads []string, rules []rule, line string) (found Finding, ok bool) {
	for _, head := range heads {
		rest, is := after(head, line)
		if !is {
			continue
		}
		if f, known := find(rules, rest); known {
			return f, true
		}
		if !ok {
			found, ok = unknown(head), true
		}
	}
	return found, ok
}

func unknown(phrase string) Finding {
	return Finding{Verdict: Unknown, Phrase: phrase, Why: "the GPU reported an error of a kind that is not known"}
}
