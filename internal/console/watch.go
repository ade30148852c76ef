package console

import (
	"encoding/json"
	"net/http"
	"time"
)

// watch tells a watcher what happens, until one of the two goes away.
func (c *Console) watch(w http.ResponseWriter, r *http.Request) {
	if c.watchers.Add(1) > int64(c.cfg.MaxWatchers) {
		c.watchers.Add(-1)
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many pages are open: close one of them", http.StatusServiceUnavailable)
		return
	}
	defer c.watchers.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy's, which would hold events back
	out := &feed{w, http.NewResponseController(w), c.cfg.Patience}

	beat := time.NewTicker(c.cfg.Heartbeat)
	defer beat.Stop()
	seen, err := c.welcome(out, r.Header.Get("Last-Event-ID"))
	for err == nil {
		entries, behind, more := c.since(seen)
		switch {
		case behind > 0:
			seen, err = c.restart(out, behind)
		case len(entries) > 0:
			seen, err = entries[len(entries)-1].n, out.entries(entries)
		default:
			select {
			case <-more:
			case <-beat.C:
				err = out.write([]byte(": still here\n\n"))
			case <-c.closing:
				_ = out.write([]byte("event: end\ndata: {}\n\n")) // it is going away as well
				return
			case <-r.Context().Done():
				return
			}
		}
	}
}

// since returns what follows message n, or by how many messages a watcher that
// has seen it is behind what is kept, and a channel closed when there is more.
func (c *Console) since(n uint64) (rest []entry, behind uint64, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest, known := c.ring.after(n)
	if !known {
		return nil, max(c.ring.last()-n, 1), c.ring.more
	}
	return rest, 0, c.ring.more
}

// again is how long a browser waits before it comes back.
const again = "retry: 1000\n\n"

// welcome begins the feed: where the watcher left off, or with everything.
func (c *Console) welcome(out *feed, lastID string) (seen uint64, err error) {
	if err := out.write([]byte(again)); err != nil {
		return 0, err
	}
	c.mu.Lock()
	n, known := c.ring.number(lastID)
	if known {
		_, known = c.ring.after(n)
	}
	c.mu.Unlock()
	if known {
		return n, out.write([]byte(": welcome back\n\n"))
	}
	return c.everything(out)
}

// restart tells a watcher that it has missed something, and begins anew.
func (c *Console) restart(out *feed, behind uint64) (seen uint64, err error) {
	data, err := json.Marshal(missed{behind})
	if err != nil {
		return 0, err
	}
	if err := out.write(append(append([]byte("event: missed\ndata: "), data...), "\n\n"...)); err != nil {
		return 0, err
	}
	return c.everything(out)
}

// everything sends a snapshot. It bears the number of the last message in it.
func (c *Console) everything(out *feed) (seen uint64, err error) {
	c.mu.Lock()
	seen, all := c.ring.last(), c.model.snapshot(c.cfg)
	c.mu.Unlock()
	data, err := json.Marshal(all)
	if err != nil {
		return 0, err
	}
	return seen, out.write(c.ring.frame("snapshot", seen, data)) // the epoch never changes
}

// preview answers with the latest picture of a job's unfinished work.
func (c *Console) preview(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	picture := c.model.jobs.picture(r.URL.Query().Get("job"))
	c.mu.Unlock()
	if picture == nil {
		http.NotFound(w, r)
		return
	}
	if picture.MIME != "image/jpeg" && picture.MIME != "image/png" {
		http.Error(w, "a preview of another type than JPEG and PNG", http.StatusUnsupportedMediaType)
		return
	}
	guard(w.Header())
	w.Header().Set("Content-Type", picture.MIME)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(picture.Data) // it is shown or not
}

// A feed writes to a watcher, each time within its patience.
type feed struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (f *feed) write(text []byte) error {
	_ = f.control.SetWriteDeadline(time.Now().Add(f.patience)) // where it can be set
	if _, err := f.w.Write(text); err != nil {
		return err
	}
	return f.control.Flush()
}

func (f *feed) entries(all []entry) error {
	var text []byte
	for _, e := range all {
		text = append(text, e.text...)
	}
	return f.write(text)
}
