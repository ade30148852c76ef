package simulation

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/comfyvisor/comfyvisor/supervisor"
)

// traceLength is how many events of a job are printed with a violation.
const traceLength = 200

// A happening is something that was seen while the run went on. It is put into
// words only when somebody asks.
type happening struct {
	at      time.Time
	job     string
	pod     *pod
	in      *instance
	phase   string
	attempt int
	detail  string
	exit    *supervisor.Exit
}

func (h happening) String() string {
	who := ""
	switch {
	case h.pod != nil:
		who = h.pod.name + " " + h.job
	case h.in != nil:
		who = h.in.name
	}
	text := who + ": " + h.phase
	if h.attempt > 0 {
		text += fmt.Sprintf(", attempt %d", h.attempt)
	}
	if h.detail != "" {
		text += " (" + h.detail + ")"
	}
	return text
}

// A book keeps the last lines of the log as they came.
type book struct {
	mu    sync.Mutex
	lines []line
}

type line struct {
	entry  zapcore.Entry
	fields []zapcore.Field
}

// bookLength is how many lines are kept.
const bookLength = 2000

// A page is the book with the fields that all lines of a logger have.
type page struct {
	*book
	fields []zapcore.Field
}

func (b *book) Enabled(l zapcore.Level) bool { return l >= logLevel }
func (b *book) Sync() error                  { return nil }
func (b *book) With(f []zapcore.Field) zapcore.Core {
	return &page{b, f}
}
func (b *book) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return check(b, e, c)
}
func (b *book) Write(e zapcore.Entry, f []zapcore.Field) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines) == bookLength {
		b.lines = b.lines[1:]
	}
	b.lines = append(b.lines, line{e, slices.Clone(f)})
	return nil
}

func (p *page) With(f []zapcore.Field) zapcore.Core {
	return &page{p.book, slices.Concat(p.fields, f)}
}
func (p *page) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return check(p, e, c)
}
func (p *page) Write(e zapcore.Entry, f []zapcore.Field) error {
	return p.book.Write(e, slices.Concat(p.fields, f))
}

func check(core zapcore.Core, e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if core.Enabled(e.Level) {
		return c.AddCore(e, core)
	}
	return c
}

func (l line) String() string {
	fields := zapcore.NewMapObjectEncoder()
	for _, f := range l.fields {
		f.AddTo(fields)
	}
	delete(fields.Fields, "stack")
	return fmt.Sprintf("%s: %s %v", l.entry.LoggerName, l.entry.Message, fields.Fields)
}

// story tells the last events of a job, with all that belongs to none: or all
// events if job is "".
func (r *run) story(job string) string {
	type event struct {
		at   time.Time
		text string
	}
	var all []event
	tell := func(at time.Time, format string, args ...any) {
		all = append(all, event{at, fmt.Sprintf(format, args...)})
	}
	mine := func(other string) bool { return job == "" || other == "" || other == job }
	for _, h := range r.events {
		if mine(h.job) {
			tell(h.at, "%s", h)
		}
	}
	for _, f := range r.fired {
		tell(f.at, "fault: %s, acted %d times", f.fault, f.count())
	}
	for _, j := range r.queue.Ledger().Jobs {
		if !mine(j.ID) {
			continue
		}
		tell(j.Submitted, "queue: %s submitted", j.ID)
		for _, h := range j.Handouts {
			tell(h.At, "queue: %s handed out to %s, torn %v", j.ID, h.Worker, h.Torn)
		}
		for _, p := range j.Posts {
			tell(p.At, "queue: result of %s from %s, %d bytes, %s: %s", j.ID, p.Worker, p.Size, p.Verdict, r.records[j.ID])
		}
	}
	for _, p := range r.pods {
		tell(p.started, "%s: starts", p.name)
		for _, x := range []struct {
			at   time.Time
			what string
		}{{p.stopped, "told to stop"}, {p.killed, "killed"}, {p.ended, fmt.Sprintf("ended: %v, drained: %v", p.verdict, p.drained)}} {
			if !x.at.IsZero() {
				tell(x.at, "%s: %s", p.name, x.what)
			}
		}
		for _, in := range p.instances {
			for _, e := range in.comfyui.executions() {
				if id := promptIDs()[e.PromptID]; mine(id) {
					tell(e.Started, "%s: executes %s (%s)", in.name, id, e.PromptID)
					tell(e.Ended, "%s: execution of %s ends: %s, %d files", in.name, id, e.Outcome, len(e.Files))
				}
			}
		}
	}
	for _, l := range r.logged.lines {
		if text := l.String(); job == "" || !strings.Contains(text, "job:job-") || strings.Contains(text, "job:"+job+" ") || strings.Contains(text, "job:"+job+"]") {
			tell(l.entry.Time, "log %s", text)
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, e := range all[max(0, len(all)-traceLength):] {
		fmt.Fprintf(&b, "  %12s %s\n", e.at.Sub(r.began), e.text)
	}
	return b.String()
}

func (f *firing) count() int {
	if f.acted == nil {
		return 0
	}
	return f.acted()
}
