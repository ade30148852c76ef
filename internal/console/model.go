package console

import (
	"slices"
	"time"
	"unicode/utf8"

	"github.com/comfyvisor/comfyvisor/internal/event"
)

// A model is what is known of the pod. It is changed by events alone.
type model struct {
	instances []instance // in the order of their first event
	lives     []life     // the oldest first
	jobs      jobs
	samples   []sample
	lines     []logLine
	bytes     int // of lines

	pending []logLine // not yet told
	skipped uint64    // lines that came too fast to be told
	dropped uint64    // lines that the bus has lost
	lost    uint64    // other events that it has lost
}

// see takes an event and returns the messages that it makes at once.
func (m *model) see(e event.Event) []message {
	switch e := e.(type) {
	case event.Child:
		return []message{{"child", m.child(e)}}
	case event.Gate:
		return []message{{"gate", m.gate(e)}}
	case event.Job:
		return []message{{"job", m.jobs.phase(e)}}
	case event.Progress:
		m.jobs.progress(e)
	case event.Line:
		m.line(e)
	case event.Gauges:
		s := sampleOf(e)
		m.samples = last(append(m.samples, s), keepSamples)
		return []message{{"gauges", s}}
	}
	return nil
}

// waits tells whether there is something to flush.
func (m *model) waits() bool { return len(m.pending) > 0 || m.jobs.waits() }

// flush returns the messages that waited for more of their kind.
func (m *model) flush() (all []message) {
	for _, j := range m.jobs.flush() {
		all = append(all, message{"progress", j})
	}
	if len(m.pending) > 0 {
		all = append(all, message{"lines", logLines{m.pending, m.skipped + m.dropped}})
		m.pending = nil
	}
	return all
}

func (m *model) instance(name string) *instance {
	i := slices.IndexFunc(m.instances, func(in instance) bool { return in.Name == name })
	if i < 0 {
		i = len(m.instances)
		m.instances = append(m.instances, instance{Name: name})
	}
	return &m.instances[i]
}

// life is the latest of an instance, nil if it had none.
func (m *model) life(name string) *life {
	for i := len(m.lives) - 1; i >= 0; i-- {
		if m.lives[i].Instance == name {
			return &m.lives[i]
		}
	}
	return nil
}

// running is the state in which an incarnation begins.
const running = "running"

func (m *model) child(e event.Child) told {
	in := m.instance(e.Instance)
	in.State, in.Reason, in.Incarnation, in.PID, in.Since = e.To, e.Reason, e.Incarnation, e.PID, millis(e.At)
	if e.To == running {
		m.lives = last(append(m.lives, life{Instance: e.Instance, Incarnation: e.Incarnation, PID: e.PID, Start: millis(e.At)}), keepLives)
	}
	l := m.life(e.Instance)
	if e.End != "" {
		if l == nil || l.End != 0 { // it could not even be started
			m.lives = last(append(m.lives, life{Instance: e.Instance, Incarnation: e.Incarnation, Start: millis(e.At)}), keepLives)
			l = m.life(e.Instance)
		}
		l.End, l.How, l.Reason = millis(e.At), e.End, e.Reason
	}
	return tell(in, l)
}

func (m *model) gate(e event.Gate) told {
	in, l := m.instance(e.Instance), m.life(e.Instance)
	in.Open, in.Why = e.Open, e.Reason
	if e.Open {
		in.Ready = millis(e.At)
		if l != nil && l.End == 0 && l.Ready == 0 {
			l.Ready = millis(e.At)
		}
	}
	return tell(in, l)
}

// tell copies both: they go on changing.
func tell(in *instance, l *life) told {
	t := told{Instance: *in}
	if l != nil {
		copied := *l
		t.Life = &copied
	}
	return t
}

// Bounds of what is shown of a flood: a line, and the lines of one gathering.
const (
	lineLimit = 4 << 10
	floodMost = 500
)

func (m *model) line(e event.Line) {
	l := logLine{millis(e.At), e.Instance, e.Incarnation, e.Stream, e.Job, cut(e.Text, lineLimit)}
	m.lines, m.bytes = append(m.lines, l), m.bytes+len(l.Text)
	drop := 0
	for ; len(m.lines)-drop > keepLines || m.bytes > keepLineBytes; drop++ {
		m.bytes -= len(m.lines[drop].Text)
	}
	m.lines = m.lines[drop:]
	m.pending = append(m.pending, l)
	if over := len(m.pending) - floodMost; over > 0 {
		m.pending = m.pending[over:]
		m.skipped += uint64(over)
	}
}

// cut shortens a text without breaking a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}

// last returns the last n of s.
func last[T any](s []T, n int) []T { return s[max(0, len(s)-n):] }

// snapshot copies everything.
func (m *model) snapshot(cfg Config) snapshot {
	return snapshot{
		Version: cfg.Version, Now: millis(time.Now()), Started: millis(cfg.Started),
		Instances: list(m.instances), Lives: list(m.lives), Jobs: m.jobs.list(),
		Samples: list(m.samples), Lines: list(m.lines), Dropped: m.skipped + m.dropped,
	}
}

// list copies s, to a list that is not null in JSON.
func list[T any](s []T) []T { return append(make([]T, 0, len(s)), s...) }
