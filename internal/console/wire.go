package console

import (
	"time"

	"github.com/comfyvisor/comfyvisor/internal/event"
)

// What the page is told. Times are in milliseconds since 1970, durations in
// milliseconds, sizes in bytes.

// instance is how one ComfyUI stands.
type instance struct {
	Name        string `json:"name"`
	State       string `json:"state"`
	Reason      string `json:"reason"` // of the state
	Incarnation int    `json:"incarnation"`
	PID         int    `json:"pid"`
	Since       int64  `json:"since"` // of the state
	Open        bool   `json:"open"`  // the gate
	Why         string `json:"why"`   // the gate is closed
	Ready       int64  `json:"ready"` // when the gate was opened last
}

// life is one incarnation, from start to exit.
type life struct {
	Instance    string `json:"instance"`
	Incarnation int    `json:"incarnation"`
	PID         int    `json:"pid"`
	Start       int64  `json:"start"`
	Ready       int64  `json:"ready"` // 0 if it never was
	End         int64  `json:"end"`   // 0 while it lives
	How         string `json:"how"`   // it ended: one of few words
	Reason      string `json:"reason"`
}

// told is a message about a ComfyUI: how it stands, and its latest life.
type told struct {
	Instance instance `json:"instance"`
	Life     *life    `json:"life,omitempty"`
}

// atWork is a job that was taken and not yet reported.
type atWork struct {
	ID      string  `json:"id"`
	Phase   string  `json:"phase"`
	Attempt int     `json:"attempt"`
	At      int64   `json:"at"`
	Cause   string  `json:"cause,omitempty"`
	Percent float64 `json:"percent"`
	Node    string  `json:"node"`
	Class   string  `json:"class"`
	Title   string  `json:"title"`
	Step    int     `json:"step"`
	Steps   int     `json:"steps"`
	Left    int64   `json:"left"`
	// Preview counts the pictures of unfinished work; 0 means that there is none.
	Preview int `json:"preview"`
}

// logLine is a line of the log.
type logLine struct {
	At          int64  `json:"at"`
	Instance    string `json:"instance"`
	Incarnation int    `json:"incarnation"`
	Stream      string `json:"stream"`
	Job         string `json:"job,omitempty"`
	Text        string `json:"text"`
}

// logLines is a message: lines, and how many were lost so far.
type logLines struct {
	Lines   []logLine `json:"lines"`
	Dropped uint64    `json:"dropped"`
}

// sample is what is in use.
type sample struct {
	At        int64   `json:"at"`
	Memory    uint64  `json:"memory"`
	Limit     uint64  `json:"limit"`
	Instances []usage `json:"instances"`
}

type usage struct {
	Name      string `json:"name"`
	Resident  uint64 `json:"resident"`
	Device    string `json:"device"`
	VRAMUsed  uint64 `json:"vramUsed"`
	VRAMTotal uint64 `json:"vramTotal"`
}

// snapshot is everything that a page begins with.
type snapshot struct {
	Version   string     `json:"version"`
	Now       int64      `json:"now"`
	Started   int64      `json:"started"`
	Instances []instance `json:"instances"`
	Lives     []life     `json:"lives"`
	Jobs      []atWork   `json:"jobs"`
	Samples   []sample   `json:"samples"`
	Lines     []logLine  `json:"lines"`
	Dropped   uint64     `json:"dropped"`
}

// missed tells a watcher that it has not seen everything.
type missed struct {
	Messages uint64 `json:"messages"`
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func sampleOf(e event.Gauges) sample {
	s := sample{At: millis(e.At), Memory: e.Memory, Limit: e.MemoryLimit, Instances: make([]usage, len(e.Instances))}
	for i, u := range e.Instances {
		s.Instances[i] = usage{u.Instance, u.Resident, u.Device, u.VRAMUsed, u.VRAMTotal}
	}
	return s
}
