package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// What a check found.
const (
	OK   = "ok"
	Warn = "warn" // jobs can be done, and something is not as it should be
	Fail = "fail" // jobs cannot be done
)

// A Finding is what a check has found out.
type Finding struct {
	Name    string   `json:"name"`
	Verdict string   `json:"verdict"`
	Text    string   `json:"text"`
	Advice  string   `json:"advice,omitempty"` // what to do
	Details []string `json:"details,omitempty"`
}

// A Check asks one thing.
type Check struct {
	Name string
	Run  func(ctx context.Context) Finding
}

// Run asks all checks at the same time and returns what they found, in their
// order. One that has not answered within limit has failed; what hangs in the
// kernel stays behind.
func Run(ctx context.Context, limit time.Duration, checks []Check) []Finding {
	// A check that heeds the first has a word to say before the second is over.
	const grace = time.Second
	over, end := context.WithTimeout(ctx, limit+grace)
	defer end()
	ctx, cancel := context.WithTimeout(over, limit)
	defer cancel()
	answers := make([]chan Finding, len(checks))
	for i, c := range checks {
		answers[i] = make(chan Finding, 1)
		go func() { answers[i] <- c.Run(ctx) }()
	}
	findings := make([]Finding, len(checks))
	for i, c := range checks {
		findings[i] = answer(answers[i], over.Done(), limit)
		findings[i].Name = c.Name
	}
	return findings
}

// answer is the check's, or that there was none.
func answer(found <-chan Finding, over <-chan struct{}, limit time.Duration) Finding {
	select {
	case f := <-found:
		return f
	default:
	}
	select {
	case f := <-found:
		return f
	case <-over:
		return Finding{Verdict: Fail, Text: fmt.Sprintf("no answer within %v", limit), Advice: "a driver, a disk or a network volume hangs: look at the host"}
	}
}

// Healthy tells whether nothing has failed.
func Healthy(findings []Finding) bool {
	for _, f := range findings {
		if f.Verdict == Fail {
			return false
		}
	}
	return true
}

// colours are the verdicts' on a terminal.
var colours = map[string]string{OK: "\x1b[32m", Warn: "\x1b[33m", Fail: "\x1b[31m"}

// Write prints findings, a line each, what to do and the details below it.
func Write(w io.Writer, findings []Finding, colour bool) error {
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Name))
	}
	var b strings.Builder
	for _, f := range findings {
		verdict := fmt.Sprintf("%-4s", f.Verdict)
		if colour {
			verdict = colours[f.Verdict] + verdict + "\x1b[0m"
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", verdict, width, f.Name, plain(f.Text))
		indent := strings.Repeat(" ", 4+2+width+2)
		for _, d := range f.Details {
			fmt.Fprintf(&b, "%s%s\n", indent, plain(d))
		}
		if f.Advice != "" {
			fmt.Fprintf(&b, "%s-> %s\n", indent, plain(f.Advice))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plain is text on one line, without what a terminal would obey.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0:
			return -1
		}
		return r
	}, text)
}
