package console

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// A message is one server-sent event.
type message struct {
	kind string
	data any
}

// An entry is a message with its number, as it is written.
type entry struct {
	n    uint64
	text []byte
}

// A ring keeps the latest messages for whoever reads them at their own pace.
// Its owner locks it.
type ring struct {
	epoch       string // of this program: numbers of another mean nothing
	most, bytes int    // that are kept
	entries     []entry
	size        int           // bytes of entries
	next        uint64        // number of the next message
	from        uint64        // older ones cannot be gone on from
	more        chan struct{} // closed and replaced with each message
}

func newRing(epoch string, most, bytes int) *ring {
	return &ring{epoch: epoch, most: most, bytes: bytes, next: 1, from: 1, more: make(chan struct{})}
}

func (r *ring) add(m message) {
	data, err := json.Marshal(m.data)
	if err != nil {
		return // a percentage that is no number: who watches does without it
	}
	e := entry{r.next, r.frame(m.kind, r.next, data)}
	r.next++
	r.entries, r.size = append(r.entries, e), r.size+len(e.text)
	drop := 0
	for ; len(r.entries)-drop > r.most || r.size > r.bytes && len(r.entries)-drop > 1; drop++ {
		r.size -= len(r.entries[drop].text)
	}
	r.entries = r.entries[drop:]
	r.from = max(r.from, r.entries[0].n)
	close(r.more)
	r.more = make(chan struct{})
}

// renew makes everybody begin anew.
func (r *ring) renew() {
	r.entries, r.size = nil, 0
	r.next++ // a watcher that has seen everything has not seen this
	r.from = r.next
	close(r.more)
	r.more = make(chan struct{})
}

// after returns what follows message n. It does not tell what that is when
// something in between is no longer kept.
func (r *ring) after(n uint64) (rest []entry, known bool) {
	if n+1 < r.from || n >= r.next {
		return nil, false
	}
	at := len(r.entries) - int(r.next-1-n)
	return r.entries[at:], true
}

// last is the number of the latest message.
func (r *ring) last() uint64 { return r.next - 1 }

// frame is a server-sent event. JSON has no newlines of its own.
func (r *ring) frame(kind string, n uint64, data []byte) []byte {
	return fmt.Appendf(nil, "id: %s-%d\nevent: %s\ndata: %s\n\n", r.epoch, n, kind, data)
}

// number reads the id of a message. It is not known if it is another program's.
func (r *ring) number(id string) (n uint64, known bool) {
	digits, ours := strings.CutPrefix(id, r.epoch+"-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ours && err == nil
}
