package console

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comfyvisor/comfyvisor/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for what must come.
const patience = 30 * time.Second

// server is a console at work.
type server struct {
	*httptest.Server
	t    *testing.T
	bus  *event.Bus
	c    *Console
	stop func()
}

func serve(t *testing.T, change func(*Config)) *server {
	t.Helper()
	cfg := Config{Bus: new(event.Bus), Version: "v1.2.3"}
	if change != nil {
		change(&cfg)
	}
	s := &server{t: t, bus: cfg.Bus, c: New(cfg)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.c.Run(ctx) }()
	s.stop = func() {
		cancel()
		<-ended
	}
	s.Server = httptest.NewServer(s.c.Handler())
	t.Cleanup(func() {
		cancel()
		s.Server.CloseClientConnections()
		s.Server.Close()
	})
	return s
}

// told is one server-sent event as a page gets it.
type got struct{ id, kind, data string }

// watcher is a page that reads its events.
type watcher struct {
	t      *testing.T
	events chan got // closed at the end of the answer
	close  func()
}

// watch opens the events, after the one of a given id unless that is "".
func (s *server) watch(lastID string) *watcher {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+eventsPath, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		s.t.Fatalf("%s, %s", resp.Status, kind)
	}
	w := &watcher{t: s.t, events: make(chan got, 4096), close: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		read(resp.Body, w.events)
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
		resp.Body.Close()
	})
	return w
}

func read(body io.Reader, to chan<- got) {
	defer close(to)
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 8<<20)
	var e got
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			if value != "" {
				e = got{kind: "comment", data: value}
			}
			if e != (got{}) {
				to <- e
			}
			e = got{}
		}
	}
}

// next returns the next event of a kind; those of other kinds are passed over.
func (w *watcher) next(kind string) got {
	w.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e, open := <-w.events:
			if !open {
				w.t.Fatalf("the answer has ended before an event %q", kind)
			}
			if e.kind == kind {
				return e
			}
		case <-limit:
			w.t.Fatalf("no event %q", kind)
		}
	}
}

// decode reads the data of the next event of a kind.
func decode[T any](w *watcher, kind string) (v T) {
	w.t.Helper()
	e := w.next(kind)
	if err := json.Unmarshal([]byte(e.data), &v); err != nil {
		w.t.Fatalf("%s: %v in %s", kind, err, e.data)
	}
	return v
}
