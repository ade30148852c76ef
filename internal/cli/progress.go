package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/comfyvisor/comfyvisor/internal/jobclient"
)

// A meter shows how a job stands: in one line that is written again and again on
// a terminal, and elsewhere in a line for each change of what is done.
type meter struct {
	w     io.Writer
	width int // of the terminal, 0 if it is none
	quiet bool

	last  string // what was done when a line was written last
	shown bool   // a line of the terminal is to be cleared
}

// show tells how a job stands.
func (m *meter) show(j *jobclient.Job) {
	if m.quiet {
		return
	}
	what, percent := doing(j)
	if m.width == 0 {
		if what != m.last {
			fmt.Fprintf(m.w, "%3.0f %% %s\n", math.Floor(percent), what)
		}
		m.last = what
		return
	}
	m.clear()
	fmt.Fprint(m.w, fitted(line(j, what, percent), m.width-1))
	m.shown = true
}

// clear removes the line of the terminal.
func (m *meter) clear() {
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
	m.shown = false
}

// say writes a line for people to stay.
func (m *meter) say(format string, args ...any) {
	m.clear()
	fmt.Fprintf(m.w, format+"\n", args...)
}

// doing says in words what is done for a job, and how far it has come.
func doing(j *jobclient.Job) (what string, percent float64) {
	p := j.Progress
	switch {
	case j.State == jobclient.Queued:
		return "waiting in the queue", 0
	case p == nil:
		return "running", 0
	}
	what = p.Phase
	if name := plain(p.Title); name != "" {
		what = name
	} else if p.Class != "" {
		what = plain(p.Class)
	}
	if p.Attempt > 1 {
		what += fmt.Sprintf(" (attempt %d)", p.Attempt)
	}
	return what, min(max(p.Percent, 0), 100)
}

const cells = 24

// line is the line of a terminal.
func line(j *jobclient.Job, what string, percent float64) string {
	full := int(percent / 100 * cells)
	text := fmt.Sprintf("%s%s %3.0f %%  %s", strings.Repeat("█", full), strings.Repeat("░", cells-full), math.Floor(percent), what)
	if p := j.Progress; p != nil {
		if p.Steps > 0 {
			text += fmt.Sprintf("  %d/%d", p.Step, p.Steps)
		}
		if p.Left > 0 {
			text += fmt.Sprintf("  %v left", time.Duration(math.Ceil(p.Left))*time.Second)
		}
	}
	return text
}

// fitted cuts text to a number of columns.
func fitted(text string, columns int) string {
	if columns <= 0 || utf8.RuneCountInString(text) <= columns {
		return text
	}
	return string([]rune(text)[:columns-1]) + "…"
}

// plain is foreign text without what a terminal would obey.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, text)
}
