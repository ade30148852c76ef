package comfytest

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"
)

// Faults is a script of what goes wrong. A rule whose turn it is wins over
// the rules after it. The package documentation lists the words of On and Do.
type Faults []Fault

// A Fault is one rule: when (On, Skip, Count), what (Do), how much (the rest).
type Fault struct {
	// On is a request ("POST /prompt", "GET /history/*", "*"), "ws" for
	// WebSocket handshakes, "prompt" for executions, or "process".
	On string `json:"on"`
	// Skip occasions pass before the rule acts, and after Count of them it is
	// spent. A Count of 0 means for ever.
	Skip  int `json:"skip,omitempty"`
	Count int `json:"count,omitempty"`
	// Do says what happens. Empty means that only Delay is served.
	Do string `json:"do,omitempty"`
	// Delay is waited for before Do, and is the length of what lasts.
	Delay time.Duration `json:"-"`
	// After is a number of messages or bytes that still pass.
	After int `json:"after,omitempty"`
	// Status, Type and Body make up a faked answer. Body is where a redirect leads.
	Status int    `json:"status,omitempty"`
	Type   string `json:"type,omitempty"`
	Body   string `json:"body,omitempty"`
	// Bytes is a size, for instance of an oversized message.
	Bytes int `json:"bytes,omitempty"`
}

type faultJSON struct {
	plainFault
	Delay string `json:"delay,omitempty"`
}

type plainFault Fault

// UnmarshalJSON takes Delay as text such as "150ms".
func (f *Fault) UnmarshalJSON(data []byte) error {
	var j faultJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*f = Fault(j.plainFault)
	if j.Delay == "" {
		return nil
	}
	d, err := time.ParseDuration(j.Delay)
	if err != nil {
		return fmt.Errorf("parse delay of fault on %s: %w", f.On, err)
	}
	f.Delay = d
	return nil
}

// MarshalJSON writes Delay as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{plainFault: plainFault(f)}
	if f.Delay != 0 {
		j.Delay = f.Delay.String()
	}
	return json.Marshal(j)
}

// A faultbook holds the rules in force and how often each had its turn.
type faultbook struct {
	mu    sync.Mutex
	rules []*rule
}

// A rule is a fault, how often its occasion came, and how often it acted.
type rule struct {
	Fault
	seen, acted int
}

func (b *faultbook) set(faults Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = nil
	for _, f := range faults {
		b.rules = append(b.rules, &rule{Fault: f})
	}
}

// add puts f behind the rules in force. What it returns tells how often f has
// acted.
func (b *faultbook) add(f Fault) (acted func() int) {
	r := &rule{Fault: f}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = append(b.rules, r)
	return func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return r.acted
	}
}

// next counts an occasion and returns the rule that acts on it, if one does.
func (b *faultbook) next(occasion string) (Fault, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if !r.matches(occasion) {
			continue
		}
		r.seen++
		n := r.seen - r.Skip
		if n >= 1 && (r.Count == 0 || n <= r.Count) {
			r.acted++
			return r.Fault, true
		}
	}
	return Fault{}, false
}

// matches tells whether the rule is about an occasion: a word, or a method
// and a path.
func (f Fault) matches(occasion string) bool {
	if f.On == occasion {
		return true
	}
	method, target, isRequest := strings.Cut(occasion, " ")
	if !isRequest {
		return false
	}
	if f.On == "*" {
		return true
	}
	wantMethod, pattern, ok := strings.Cut(f.On, " ")
	if !ok {
		wantMethod, pattern = method, f.On
	}
	if wantMethod != method {
		return false
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(target, prefix) {
		return true
	}
	matched, err := path.Match(pattern, target)
	return err == nil && matched
}
