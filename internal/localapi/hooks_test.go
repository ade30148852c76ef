package localapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/webhook"
)

// receiver is a server that gets webhooks; the first of them it answers with
// these codes, the others with 200.
func receiver(t *testing.T, codes ...int) (url string, got <-chan jobAnswer) {
	t.Helper()
	told := make(chan jobAnswer, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		var a jobAnswer
		if err != nil || json.Unmarshal(text, &a) != nil {
			t.Errorf("webhook %s, %v", text, err)
		}
		if len(codes) > 0 {
			w.WriteHeader(codes[0])
			codes = codes[1:]
		}
		told <- a
	}))
	t.Cleanup(s.Close)
	return s.URL + "/hook", told
}

func hooked(dir string) Config {
	return Config{SpoolDir: dir, Webhooks: webhook.New(webhook.Config{AllowPrivate: true})}
}

func (a *api) submitWith(hook string) string {
	a.t.Helper()
	return a.want(http.StatusOK, "POST", "/run", `{"input":{},"webhook":"`+hook+`"}`).job(a.t).ID
}

// Whichever way a job ends, its webhook gets what its status tells.
func TestWebhookGetsTheEndOfTheJob(t *testing.T) {
	ends := map[state]func(*api, string){
		completed: func(a *api, id string) { a.takeOne(); a.done(image(id, 3)) },
		failed:    func(a *api, id string) { a.takeOne(); a.done(failure(id, "node_failed")) },
		timedOut:  func(a *api, id string) { a.takeOne(); a.done(failure(id, causeTimeout)) },
		cancelled: func(a *api, id string) { a.want(http.StatusOK, "POST", "/cancel/"+id, "") },
	}
	for want, end := range ends {
		for _, dir := range []string{"", t.TempDir()} {
			t.Run(string(want), func(t *testing.T) {
				url, told := receiver(t)
				a := serve(t, hooked(dir))
				id := a.submitWith(url)
				end(a, id)
				got := <-told
				status := a.want(http.StatusOK, "GET", "/status/"+id, "").job(t)
				if got.ID != id || got.Status != want || string(got.Output) != string(status.Output) || got.Error != status.Error {
					t.Errorf("webhook = %+v, status %+v", got, status)
				}
			})
		}
	}
}

// A try that fails is made again, also by the next process.
func TestWebhookOutlivesTheProcess(t *testing.T) {
	url, told := receiver(t, 500)
	dir := t.TempDir()
	a := serve(t, hooked(dir))
	id := a.submitWith(url)
	a.takeOne()
	a.done(image(id, 3))
	<-told
	for a.hookTries(id) == 0 { // the answer is on its way
		runtime.Gosched()
	}
	_ = a.stop()
	b := serve(t, hooked(dir))
	b.store.mu.Lock()
	if r := b.store.jobs[id]; r.hookTries != 1 || r.hookNext.IsZero() {
		t.Errorf("tries = %d, next %v, want one and a second to come", r.hookTries, r.hookNext)
	} else {
		r.hookNext = time.Now() // the pause is over
	}
	b.store.mu.Unlock()
	if again := <-told; again.ID != id || again.Status != completed {
		t.Errorf("second try = %+v", again)
	}
	if len(told) != 0 {
		t.Error("a third try was made after one that went well")
	}
}

// hookTries is how often a job's webhook was tried and answered.
func (a *api) hookTries(id string) int {
	a.store.mu.Lock()
	defer a.store.mu.Unlock()
	return a.store.jobs[id].hookTries
}

// Two further tries follow a failed one, ten seconds apart each.
func TestWebhookIsTriedThreeTimes(t *testing.T) {
	s := newStore(1, megabyte, Config{}.withDefaults().Keep)
	if _, err := s.add("a", request{webhook: "https://x.test", policy: policy{ttl: defaultTTL}}, false); err != nil {
		t.Fatal(err)
	}
	s.take(1)
	s.finish("a", outcome{state: completed})
	at := s.jobs["a"].over
	for try := range hookTries {
		if due := s.dueHooks(at.Add(-1), 10); len(due) != 0 {
			t.Errorf("try %d is due too early", try+1)
		}
		due := s.dueHooks(at, 10)
		if len(due) != 1 || due[0].tries != try || len(s.dueHooks(at, 10)) != 0 {
			t.Fatalf("due = %+v, want try %d once", due, try+1)
		}
		s.hooked(due[0], false, true)
		at = s.jobs["a"].hookNext
	}
	if !at.IsZero() {
		t.Errorf("another try is due at %v", at)
	}
}

// The webhook of a job that was retried while the end of its first run was told
// tells the second end, too.
func TestWebhookOfARetriedJob(t *testing.T) {
	s := newStore(1, megabyte, Config{}.withDefaults().Keep)
	if _, err := s.add("a", request{webhook: "https://x.test", policy: policy{ttl: defaultTTL}}, false); err != nil {
		t.Fatal(err)
	}
	s.take(1)
	s.finish("a", outcome{state: failed})
	first := s.dueHooks(s.jobs["a"].hookNext, 1)[0]
	if _, err := s.retry("a"); err != nil {
		t.Fatal(err)
	}
	s.take(1)
	s.finish("a", outcome{state: completed})
	s.hooked(first, true, true)
	if due := s.dueHooks(s.jobs["a"].hookNext, 1); len(due) != 1 || due[0].tries != 0 {
		t.Errorf("due = %+v, want the second end", due)
	}
}

func TestWebhookThatCannotBeIsRefused(t *testing.T) {
	a := serve(t, Config{Webhooks: webhook.New(webhook.Config{})})
	for _, url := range []string{"http://127.0.0.1/", "ftp://x.test", "nonsense", "http://u:p@x.test/"} {
		got := a.want(http.StatusBadRequest, "POST", "/run", `{"input":{},"webhook":"`+url+`"}`)
		if got.job(t).Error == "" {
			t.Errorf("%s: %s", url, got.body)
		}
	}
	serve(t, Config{}).want(http.StatusOK, "POST", "/run", `{"input":{},"webhook":"nonsense"}`) // where none are sent
}
