package console

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/comfyvisor/comfyvisor/internal/event"
)

// Config is what the owner of a Console decides. A zero limit means the default
// named beside it.
type Config struct {
	Bus     *event.Bus
	Version string // shown
	// Started is when the program was started; now if it is zero.
	Started time.Time

	MaxWatchers int           // at a time: 32
	Heartbeat   time.Duration // between two signs of life to a watcher: 15 s
	Patience    time.Duration // for a watcher that does not read: 10 s
}

// Bounds of what is kept. One line, one message, is always kept.
const (
	keepEvents    = 1024    // unread of the bus
	keepFlood     = 8192    // unread lines of the bus
	keepMessages  = 2048    // in the ring
	keepBytes     = 4 << 20 // in the ring
	keepLines     = 2000    // in a snapshot
	keepLineBytes = 1 << 20 // in a snapshot
	keepSamples   = 720     // an hour of them
	keepLives     = 50      // incarnations
	keepJobs      = 64      // at work at a time
)

// gather is how long progress and lines wait for more of their kind.
const gather = 100 * time.Millisecond

// A Console is made by New.
type Console struct {
	cfg      Config
	events   *event.Subscription
	lines    *event.Subscription
	watchers atomic.Int64
	pages    pages
	closing  chan struct{} // closed when Run begins to end

	mu    sync.Mutex
	model model
	ring  *ring
}

// New returns a Console that notes what is published from now on. It holds its
// place at the bus for as long as that lives.
func New(cfg Config) *Console {
	cfg.MaxWatchers = cmp.Or(cfg.MaxWatchers, 32)
	cfg.Heartbeat = cmp.Or(cfg.Heartbeat, 15*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	if cfg.Started.IsZero() {
		cfg.Started = time.Now()
	}
	isLine := func(e event.Event) bool { _, is := e.(event.Line); return is }
	return &Console{
		cfg:     cfg,
		events:  cfg.Bus.SubscribeTo(keepEvents, func(e event.Event) bool { return !isLine(e) }),
		lines:   cfg.Bus.SubscribeTo(keepFlood, isLine),
		pages:   newPages(),
		closing: make(chan struct{}),
		ring:    newRing(uuid.NewString()[:8], keepMessages, keepBytes),
	}
}

// Watched tells whether anybody looks at the page.
func (c *Console) Watched() bool { return c.watchers.Load() > 0 }

// Handler returns what answers the page's requests.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.pages.index)
	mux.HandleFunc("GET "+assets+"{file}", c.pages.asset)
	mux.HandleFunc("GET "+eventsPath, c.watch)
	mux.HandleFunc("GET "+previewPath, c.preview)
	return mux
}

// The paths of everything but the page itself. Files have an extension, and what
// shows anything of the pod has none.
const (
	assets      = "/console/"
	eventsPath  = "/console/events"
	previewPath = "/console/preview"
)

// Run notes what happens until ctx ends, then sends the watchers away, and
// returns the context's error.
func (c *Console) Run(ctx context.Context) error {
	timer := time.NewTimer(gather)
	defer timer.Stop()
	var due <-chan time.Time // nil while nothing waits for more of its kind
	for {
		waits := false
		select {
		case <-ctx.Done():
			close(c.closing)
			return ctx.Err()
		case e := <-c.events.Events():
			waits = c.note(e)
		case e := <-c.lines.Events():
			waits = c.note(e)
		case <-due:
			due = nil
			c.flush()
		}
		if waits && due == nil {
			timer.Reset(gather)
			due = timer.C
		}
	}
}

// note takes one event and tells whether something waits to be flushed.
func (c *Console) note(e event.Event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lost := c.events.Dropped(); lost != c.model.lost {
		// Which ones is not known: a job may have ended, and nobody will say so.
		c.model.lost = lost
		c.model.jobs.clear()
		c.ring.renew()
	}
	for _, m := range c.model.see(e) {
		c.ring.add(m)
	}
	return c.model.waits()
}

func (c *Console) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.model.dropped = c.lines.Dropped()
	for _, m := range c.model.flush() {
		c.ring.add(m)
	}
}
