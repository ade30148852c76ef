package console

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/event"
)

var noon = time.UnixMilli(1_700_000_000_000)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func child(seconds, n, pid int, from, to, end string) event.Child {
	return event.Child{At: at(seconds), Instance: "comfyui", Incarnation: n, PID: pid, From: from, To: to, Reason: "because of " + to, End: end}
}

// What a page shows that opens only when everything has happened.
func TestModelRemembersLives(t *testing.T) {
	var m model
	for _, e := range []event.Event{
		child(0, 1, 41, "stopped", "running", ""),
		event.Gate{At: at(5), Instance: "comfyui", Open: true},
		event.Gate{At: at(60), Instance: "comfyui", Reason: "killed"},
		child(60, 1, 0, "running", "backoff", "signal"),
		child(61, 2, 42, "backoff", "running", ""),
		child(62, 2, 42, "running", "terminating", ""),
		child(63, 2, 0, "terminating", "backoff", "no_good"),
		child(64, 3, 0, "backoff", "backoff", "start"),
	} {
		m.see(e)
	}
	ms := func(seconds int) int64 { return at(seconds).UnixMilli() }
	want := []life{
		{Instance: "comfyui", Incarnation: 1, PID: 41, Start: ms(0), Ready: ms(5), End: ms(60), How: "signal", Reason: "because of backoff"},
		{Instance: "comfyui", Incarnation: 2, PID: 42, Start: ms(61), End: ms(63), How: "no_good", Reason: "because of backoff"},
		{Instance: "comfyui", Incarnation: 3, Start: ms(64), End: ms(64), How: "start", Reason: "because of backoff"},
	}
	if diff := cmp.Diff(want, m.lives); diff != "" {
		t.Errorf("lives (-want +got):\n%s", diff)
	}
	stands := []instance{{Name: "comfyui", State: "backoff", Reason: "because of backoff", Incarnation: 3, Since: ms(64), Why: "killed", Ready: ms(5)}}
	if diff := cmp.Diff(stands, m.instances); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
}

func TestModelBoundsWhatItKeeps(t *testing.T) {
	var m model
	for n := range 3 * keepLines {
		m.see(event.Line{At: at(n), Text: strings.Repeat("é", n%200)})
		m.see(event.Gauges{At: at(n)})
		m.see(child(n, n, n+1, "backoff", "running", ""))
		m.see(event.Job{At: at(n), ID: fmt.Sprint(n), Phase: "take"})
	}
	got := []int{len(m.lines), len(m.samples), len(m.lives), len(m.jobs.all), len(m.pending)}
	if diff := cmp.Diff([]int{keepLines, keepSamples, keepLives, keepJobs, floodMost}, got); diff != "" {
		t.Errorf("lines, samples, lives, jobs, pending lines (-want +got):\n%s", diff)
	}
	for range 2 * keepLineBytes / lineLimit {
		m.see(event.Line{Text: strings.Repeat("é", lineLimit)})
	}
	if m.bytes > keepLineBytes || len(m.lines) == 0 {
		t.Errorf("%d bytes in %d lines", m.bytes, len(m.lines))
	}
	if want := uint64(3*keepLines + 2*keepLineBytes/lineLimit - floodMost); m.skipped != want {
		t.Errorf("%d lines skipped, want %d", m.skipped, want)
	}
}

func TestProgressIsGathered(t *testing.T) {
	var m model
	m.see(event.Job{ID: "a", Phase: "take"})
	m.see(event.Progress{Job: "nobody", Percent: 5})
	if m.waits() {
		t.Error("the progress of an unknown job waits")
	}
	for step := range 20 {
		m.see(event.Progress{Job: "a", Percent: float64(step), Node: "5", Step: step, Steps: 20, Left: time.Second})
	}
	moved := m.flush()
	if len(moved) != 1 || moved[0].data.(atWork).Step != 19 || moved[0].data.(atWork).Left != 1000 {
		t.Errorf("told %+v, want the last step alone", moved)
	}
	m.see(event.Progress{Job: "a", Percent: 99})
	done := m.see(event.Job{ID: "a", Phase: "done", Cause: "node_failed"})
	if len(done) != 1 || done[0].data.(atWork).Cause != "node_failed" || m.waits() || len(m.jobs.list()) != 0 {
		t.Errorf("the end: %+v, %d jobs left", done, len(m.jobs.list()))
	}
}

func TestWatcherSeesWhatHappens(t *testing.T) {
	s := serve(t, nil)
	w := s.watch("")
	first := decode[snapshot](w, "snapshot")
	if first.Version != "v1.2.3" || first.Instances == nil || first.Lines == nil || first.Jobs == nil {
		t.Errorf("snapshot of nothing: %+v", first)
	}
	s.bus.Publish(child(0, 1, 41, "stopped", "running", ""))
	if c := decode[told](w, "child"); c.Instance.PID != 41 || c.Life == nil || c.Life.Incarnation != 1 {
		t.Errorf("child %+v", c)
	}
	s.bus.Publish(event.Gate{At: at(5), Instance: "comfyui", Open: true})
	if g := decode[told](w, "gate"); !g.Instance.Open || g.Life.Ready != at(5).UnixMilli() {
		t.Errorf("gate %+v", g)
	}
	s.bus.Publish(event.Job{ID: "a", Phase: "execute", Attempt: 1})
	if j := decode[atWork](w, "job"); j.ID != "a" || j.Phase != "execute" {
		t.Errorf("job %+v", j)
	}
	s.bus.Publish(event.Progress{Job: "a", Percent: 50, Title: "Paint"})
	if p := decode[atWork](w, "progress"); p.Percent != 50 || p.Title != "Paint" {
		t.Errorf("progress %+v", p)
	}
	s.bus.Publish(event.Line{Text: "hello", Stream: "stderr", Job: "a"})
	if l := decode[logLines](w, "lines"); len(l.Lines) != 1 || l.Lines[0].Text != "hello" || l.Lines[0].Job != "a" {
		t.Errorf("lines %+v", l)
	}
	s.bus.Publish(event.Gauges{Memory: 5, MemoryLimit: 7, Instances: []event.Usage{{Instance: "comfyui", VRAMUsed: 3}}})
	if g := decode[sample](w, "gauges"); g.Memory != 5 || g.Limit != 7 || g.Instances[0].VRAMUsed != 3 {
		t.Errorf("gauges %+v", g)
	}
	late := decode[snapshot](s.watch(""), "snapshot")
	if len(late.Instances) != 1 || len(late.Lives) != 1 || len(late.Jobs) != 1 || len(late.Lines) != 1 || len(late.Samples) != 1 {
		t.Errorf("snapshot for who comes late: %+v", late)
	}
}

func TestWatcherGoesOnWhereItLeftOff(t *testing.T) {
	s := serve(t, nil)
	first := s.watch("")
	first.next("snapshot")
	s.bus.Publish(event.Job{ID: "a", Phase: "take"})
	seen := first.next("job")
	first.close()
	s.bus.Publish(event.Job{ID: "b", Phase: "take"})
	again := s.watch(seen.id)
	if e := <-again.events; e.kind != "comment" {
		t.Fatalf("it begins with %+v", e)
	}
	if j := decode[atWork](again, "job"); j.ID != "b" {
		t.Errorf("it goes on with %+v", j)
	}
	for _, id := range []string{"another-1", seen.id + "000", "nonsense"} {
		if e := <-s.watch(id).events; e.kind != "snapshot" {
			t.Errorf("after %q it begins with %+v, want a snapshot", id, e)
		}
	}
}

// A watcher that has fallen behind is told, and begins anew.
func TestWatcherThatFellBehindBeginsAnew(t *testing.T) {
	s := serve(t, nil)
	w := s.watch("")
	w.next("snapshot")
	s.c.mu.Lock() // as a watcher that reads nothing would find it
	for range keepMessages + 10 {
		s.c.ring.add(message{"job", atWork{}})
	}
	s.c.mu.Unlock()
	if m := decode[missed](w, "missed"); m.Messages != keepMessages+10 {
		t.Errorf("missed %d messages, want %d", m.Messages, keepMessages+10)
	}
	w.next("snapshot")
	s.bus.Publish(event.Job{ID: "a", Phase: "take"})
	if j := decode[atWork](w, "job"); j.ID != "a" {
		t.Errorf("then %+v", j)
	}
}

// A watcher that does not read delays nobody, and is sent away.
func TestWatcherThatDoesNotReadIsSentAway(t *testing.T) {
	s := serve(t, func(c *Config) { c.Patience = 50 * time.Millisecond })
	resp, err := s.Client().Get(s.URL + eventsPath) // and no reading of it
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	other := s.watch("")
	other.next("snapshot")
	for i := 0; s.c.watchers.Load() == 2; i++ {
		s.bus.Publish(event.Line{Text: strings.Repeat("x", 4000)})
		if i%200 == 0 {
			other.next("lines")
		}
	}
	s.bus.Publish(event.Job{ID: "a", Phase: "take"})
	other.next("job")
}

func TestWatchersAreCounted(t *testing.T) {
	s := serve(t, func(c *Config) { c.MaxWatchers = 1 })
	if s.c.Watched() {
		t.Error("watched by nobody")
	}
	w := s.watch("")
	w.next("snapshot")
	if !s.c.Watched() {
		t.Error("not watched")
	}
	resp, err := s.Client().Get(s.URL + eventsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s", resp.Status)
	}
}

func TestWatcherIsToldOfTheEnd(t *testing.T) {
	s := serve(t, nil)
	w := s.watch("")
	w.next("snapshot")
	s.stop()
	w.next("end")
	if _, open := <-w.events; open {
		t.Error("the answer goes on after the end")
	}
}

func TestWatcherGetsHeartbeats(t *testing.T) {
	s := serve(t, func(c *Config) { c.Heartbeat = time.Millisecond })
	w := s.watch("")
	w.next("comment")
	w.next("comment")
}

// Events that were lost may be the end of a job: everybody begins anew.
func TestLostEventsMakeEverybodyBeginAnew(t *testing.T) {
	bus := new(event.Bus)
	c := New(Config{Bus: bus})
	c.note(event.Job{ID: "a", Phase: "take"})
	seen := c.ring.last()
	for range keepEvents + 1 { // Run is not running
		bus.Publish(event.Gauges{})
	}
	c.note(<-c.events.Events())
	if _, behind, _ := c.since(seen); behind == 0 || len(c.model.jobs.all) != 0 {
		t.Errorf("%d messages behind, %d jobs", behind, len(c.model.jobs.all))
	}
}

// What cannot be written is left out, and nothing else with it.
func TestProgressThatIsNoNumberIsLeftOut(t *testing.T) {
	r := newRing("e", 8, 1<<20)
	r.add(message{"progress", atWork{Percent: math.NaN()}})
	r.add(message{"progress", atWork{Percent: 5}})
	if rest, known := r.after(0); !known || len(rest) != 1 {
		t.Errorf("%d messages, known %v", len(rest), known)
	}
}

func TestPreview(t *testing.T) {
	s := serve(t, nil)
	w := s.watch("")
	for _, tt := range []struct {
		job, mime string
		status    int
	}{
		{"a", "image/jpeg", http.StatusOK},
		{"b/c ?", "image/png", http.StatusOK},
		{"d", "text/html", http.StatusUnsupportedMediaType},
		{"e", "", http.StatusNotFound},
	} {
		s.bus.Publish(event.Job{ID: tt.job, Phase: "execute", Attempt: 1})
		if tt.mime != "" {
			s.bus.Publish(event.Progress{Job: tt.job, Preview: &event.Preview{MIME: tt.mime, Data: []byte("picture")}})
			if p := decode[atWork](w, "progress"); p.Preview != 1 {
				t.Errorf("progress %+v", p)
			}
		} else {
			for decode[atWork](w, "job").ID != tt.job {
			}
		}
		resp, err := s.Client().Get(s.URL + previewPath + "?job=" + url.QueryEscape(tt.job))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status || tt.status == http.StatusOK && string(body) != "picture" {
			t.Errorf("%s: %s %q, want %d", tt.job, resp.Status, body, tt.status)
		}
	}
}
