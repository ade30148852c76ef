package comfytest

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Outcomes of an execution.
const (
	Running     = "running"
	Success     = "success"
	Failed      = "error"
	Interrupted = "interrupted"
	Lost        = "lost" // the process or its worker thread died with it
)

// An Execution is one run of a prompt, as it truly happened.
type Execution struct {
	PromptID  string          `json:"prompt_id"`
	ClientID  string          `json:"client_id"`
	Number    float64         `json:"number"`
	Workflow  json.RawMessage `json:"workflow"`
	ExtraData json.RawMessage `json:"extra_data"`
	Queued    time.Time       `json:"queued"`
	Started   time.Time       `json:"started"`
	Ended     time.Time       `json:"ended"`
	Outcome   string          `json:"outcome"`
	Nodes     []string        `json:"nodes"`  // ids of the nodes that ran, in order
	Cached    []string        `json:"cached"` // ids of those whose result was reused
	Files     []WrittenFile   `json:"files"`
}

// A WrittenFile is a file that a node wrote, reported or not.
type WrittenFile struct {
	Node   string `json:"node"`
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// A Request is one HTTP request as it came in, WebSocket handshakes included.
type Request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Query  string    `json:"query"`
	Bytes  int64     `json:"bytes"` // of the body, as far as it was read
}

// A ledger is the truth about one or more incarnations.
type ledger struct {
	mu         sync.Mutex
	executions []*Execution
	requests   []*Request
	interrupts int
	failed     map[string][]time.Time // the requests of the last second, by kind
	rushed     []string
	changed    chan struct{} // nil until somebody waits
}

func newLedger() *ledger { return new(ledger) }

// note runs change under the ledger's lock and wakes those who watch.
func (l *ledger) note(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *ledger) read(look func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	look()
}

func (e *Execution) copy() Execution {
	c := *e
	c.Nodes = slices.Clone(e.Nodes)
	c.Cached = slices.Clone(e.Cached)
	c.Files = slices.Clone(e.Files)
	return c
}

// Executions returns every run so far in the order of their starts.
func (c *Comfy) Executions() []Execution {
	var all []Execution
	c.ledger.read(func() {
		for _, e := range c.ledger.executions {
			all = append(all, e.copy())
		}
	})
	return all
}

// Requests returns every HTTP request so far.
func (c *Comfy) Requests() []Request {
	var all []Request
	c.ledger.read(func() {
		for _, r := range c.ledger.requests {
			all = append(all, *r)
		}
	})
	return all
}

// Interrupts counts the requests that asked to interrupt or cancel, whether
// or not they had an effect.
func (c *Comfy) Interrupts() int {
	n := 0
	c.ledger.read(func() { n = c.ledger.interrupts })
	return n
}

// Changed returns a channel that is closed when the ledger next changes: a
// request came, an execution started, ran a node or ended. To wait for
// something, take the channel first, then look, then wait.
func (c *Comfy) Changed() <-chan struct{} {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	if c.ledger.changed == nil {
		c.ledger.changed = make(chan struct{})
	}
	return c.ledger.changed
}

// HistorySize is the number of history entries.
func (c *Comfy) HistorySize() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.history.order)
}

// Sockets is the number of open WebSocket connections, those included that
// the server has forgotten.
func (c *Comfy) Sockets() int { return c.hub.open() }

// end closes the account of e, once. It needs the ledger's lock.
func (e *Execution) end(outcome string) {
	if e != nil && e.Outcome == Running {
		e.Outcome = outcome
		e.Ended = time.Now()
	}
}

// record passes a copy of e on to Config.Record.
func (c *Comfy) record(e *Execution) {
	if c.cfg.Record == nil {
		return
	}
	var copied Execution
	c.ledger.read(func() { copied = e.copy() })
	c.cfg.Record(copied)
}
