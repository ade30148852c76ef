package comfytest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// rushLimit is how many requests of a kind may come within a second while they fail.
const rushLimit = 20

// failing takes down that a request fails by a rule, and which requests come too often
// although they do.
func (c *Comfy) failing(f Fault, r *http.Request) {
	fails := slices.Contains([]string{"lost", "reset", "truncate", "refuse"}, f.Do) ||
		(f.Do == "answer" || f.Do == "ran") && orStatus(f.Status, http.StatusInternalServerError) >= http.StatusBadRequest
	if !fails {
		return
	}
	c.ledger.note(func() { c.ledger.fails(f.On+" "+lastPart(r), time.Now()) })
}

// lastPart tells requests for one thing from those for another.
func lastPart(r *http.Request) string { return r.URL.Path[strings.LastIndex(r.URL.Path, "/"):] }

// fails needs the ledger's lock.
func (l *ledger) fails(what string, at time.Time) {
	if l.failed == nil {
		l.failed = make(map[string][]time.Time)
	}
	recent := slices.DeleteFunc(append(l.failed[what], at), func(t time.Time) bool { return at.Sub(t) >= time.Second })
	l.failed[what] = recent
	if len(recent) == rushLimit+1 {
		l.rushed = append(l.rushed, fmt.Sprintf("%s: more than %d requests a second while they fail", what, rushLimit))
	}
}

// Rushed tells which requests came more often than 20 times a second while they
// failed by a rule, nothing if none did.
func (c *Comfy) Rushed() (rushed []string) {
	c.ledger.read(func() { rushed = slices.Clone(c.ledger.rushed) })
	return rushed
}
