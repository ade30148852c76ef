package runpod

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// Odd URLs in the environment are understood or refused by the name of their variable; placeholders are replaced and the query is appended as what is there demands.
func TestFault_J13_URLForms(t *testing.T) {
	const (
		host = "https://api.runpod.ai/v2/ep"
		take = "TAKE"
		done = "DONE"
		ping = "PING"
	)
	tests := []struct{ call, url, want string }{
		{take, host + "/job-take/$ID", host + "/job-take/w%2F1?job_in_progress=0"},
		{take, host + "/job-take/$ID?", host + "/job-take/w%2F1?job_in_progress=0"},
		{take, host + "/job-take/$ID?gpu=NVIDIA+L4", host + "/job-take/w%2F1?gpu=NVIDIA+L4&job_in_progress=0"},
		{take, host + "/job-take/$ID?gpu=NVIDIA%20L4&", host + "/job-take/w%2F1?gpu=NVIDIA%20L4&job_in_progress=0"},
		{take, host + "/job-take/$ID?&a=1", host + "/job-take/w%2F1?a=1&job_in_progress=0"},
		{take, host + "/job-take/$RUNPOD_POD_ID", host + "/job-take/w%2F1?job_in_progress=0"},
		{take, host + "/job-take/worker?id=$ID", host + "/job-take/worker?id=w%2F1&job_in_progress=0"},
		{take, "  " + host + "/job-take/$ID\n", host + "/job-take/w%2F1?job_in_progress=0"},
		{take, host + "/job-take/$ID#top", host + "/job-take/w%2F1?job_in_progress=0"},
		{take, host + "/job-take/", host + "/job-take/?job_in_progress=0"},
		{take, host, host + "?job_in_progress=0"},
		{take, "http://10.0.0.7:8080/v2/ep/job-take/$ID?", "http://10.0.0.7:8080/v2/ep/job-take/w%2F1?job_in_progress=0"},
		{take, "http://[::1]:8080/job-take/$ID", "http://[::1]:8080/job-take/w%2F1?job_in_progress=0"},
		{take, "HTTPS://api.runpod.ai/job-take/$ID", "HTTPS://api.runpod.ai/job-take/w%2F1?job_in_progress=0"},
		{take, "", "error"},
		{take, "  ", "error"},
		{take, "?gpu=hunter2", "error"},
		{take, "api.runpod.ai/hunter2", "error"},
		{take, "ftp://api.runpod.ai/hunter2", "error"},
		{take, "https:///hunter2/$ID", "error"},
		{take, "https://:443/hunter2/$ID", "error"},
		{take, `"https://api.runpod.ai/hunter2"`, "error"},
		{take, "https://api.runpod.ai/hunter2/%zz", "error"},
		{take, "https://api.runpod.ai:hunter2/", "error"},
		{take, "https://hun ter2/", "error"},
		{take, "https://api.runpod.ai/hunter2\x7f", "error"},
		{take, "https://api.runpod.ai/job-take/$ID?a=hunter2 b", "error"},
		{done, host + "/job-done/$RUNPOD_POD_ID/$ID?gpu=x", host + "/job-done/w%2F1/j%20%3F?gpu=x&isStream=false"},
		{done, host + "/job-done/$RUNPOD_POD_ID/$ID?", host + "/job-done/w%2F1/j%20%3F?isStream=false"},
		{done, host + "/job-done/$RUNPOD_POD_ID/$ID", host + "/job-done/w%2F1/j%20%3F?isStream=false"},
		{done, host + "/job-done/$RUNPOD_POD_ID?job=$ID", host + "/job-done/w%2F1?job=j+%3F&isStream=false"},
		{done, host + "/job-done", host + "/job-done?isStream=false"},
		{done, "hunter2", "error"},
		{ping, host + "/ping/$RUNPOD_POD_ID", host + "/ping/w%2F1?runpod_version=1"},
		{ping, host + "/ping/$RUNPOD_POD_ID?gpu=x", host + "/ping/w%2F1?gpu=x&runpod_version=1"},
		{ping, host + "/ping/$ID?", host + "/ping/w%2F1?runpod_version=1"},
		{ping, "ws://hunter2", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.call+" "+tt.url, func(t *testing.T) {
			cfg := Config{WorkerID: "w/1", TakeURL: Template{take, host}, DoneURL: Template{done, host}, PingURL: Template{ping, ""}}
			for _, v := range []*Template{&cfg.TakeURL, &cfg.DoneURL, &cfg.PingURL} {
				if v.Name == tt.call {
					v.URL = tt.url
				}
			}
			c, err := New(cfg, zap.NewNop())
			if tt.want == "error" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.call) || strings.Contains(err.Error(), "hun") {
					t.Errorf("error is %v, want the name and not the value", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{
				take: c.takeURL(1),
				done: c.done.fill(idPlace, "j ?").with("isStream", "false"),
				ping: c.ping.with("runpod_version", "1"),
			}[tt.call]
			if got != tt.want {
				t.Errorf("URL is\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestNewNamesAllBadVariables(t *testing.T) {
	bad := func(name string) Template { return Template{Name: name, URL: "hunter2"} }
	_, err := New(Config{TakeURL: bad("A"), DoneURL: bad("B"), PingURL: bad("C")}, zap.NewNop())
	if err == nil || strings.Count(err.Error(), "\n") != 2 || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
}

func TestSiblingCalls(t *testing.T) {
	tests := []struct{ take, batch, stop string }{
		{"http://q/v2/ep/job-take/$ID?gpu=x",
			"http://q/v2/ep/job-take-batch/w?gpu=x&batch_size=3&job_in_progress=0", "http://q/v2/ep/job-stop/w?gpu=x&job_in_progress=0"},
		{"http://q/v2/ep/job-take/$ID?",
			"http://q/v2/ep/job-take-batch/w?batch_size=3&job_in_progress=0", "http://q/v2/ep/job-stop/w?job_in_progress=0"},
		{"http://q/take?next=/job-take/", "http://q/take?next=/job-take/&job_in_progress=0", ""},
	}
	for _, tt := range tests {
		c, err := New(Config{WorkerID: "w", TakeURL: Template{URL: tt.take}, DoneURL: Template{URL: tt.take}}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.takeURL(3); got != tt.batch {
			t.Errorf("batch of %s is %s", tt.take, got)
		}
		if got := c.stop.with("job_in_progress", "0"); c.hasStop != (tt.stop != "") || c.hasStop && got != tt.stop {
			t.Errorf("stop channel of %s is %s", tt.take, got)
		}
	}
}

func TestDecodeTimeout(t *testing.T) {
	tests := map[string]time.Duration{
		`{}`:                                     0,
		`{"policy":{"executionTimeout":5000}}`:   4750 * time.Millisecond,
		`{"policy":{"executionTimeout":1500.5}}`: 1425475 * time.Microsecond,
		`{"executionTimeout":600000}`:            595 * time.Second,
		`{"policy":{"executionTimeout":1000},"executionTimeout":2000}`: 950 * time.Millisecond,
		`{"policy":{"executionTimeout":"x"},"executionTimeout":2000}`:  1900 * time.Millisecond,
		`{"policy":{"executionTimeout":-1}}`:                           0,
		`{"policy":{"executionTimeout":0}}`:                            0,
		`{"policy":{"executionTimeout":1e999}}`:                        0,
		`{"policy":{"executionTimeout":1e300}}`:                        0,
		`{"policy":{"executionTimeout":null},"executionTimeout":null}`: 0,
		`{"policy":[1]}`:                                                 0,
		`{"policy":"5000"}`:                                              0,
		`{"policy":{"executionTimeout":604800000}}`:                      7*24*time.Hour - 5*time.Second,
		`{"policy":{"executionTimeout":604800001}}`:                      0,
		`{"policy":{"ExecutionTimeout":5000},"EXECUTIONTIMEOUT":600000}`: 0,
	}
	for text, want := range tests {
		entry := strings.Replace(text, "{", `{"id":"a","input":{},`, 1)
		entry = strings.Replace(entry, ",}", "}", 1)
		found, err := decode([]byte(entry))
		if err != nil || len(found) != 1 || found[0].job.Timeout != want {
			t.Errorf("%s: %+v, %v, want %s", entry, found, err, want)
		}
	}
}

func TestDecodeWholeAnswers(t *testing.T) {
	tests := []struct {
		body    string
		entries int
		bad     bool
	}{
		{`null`, 0, false}, {`[]`, 0, false}, {`{}`, 0, false}, {`[null,{}]`, 0, false}, {" \n[ ] ", 0, false},
		{`[{"id":"a","input":1},7,null]`, 2, false},
		{``, 0, true}, {` `, 0, true}, {`<html>`, 0, true}, {`{"id":"a"`, 0, true}, {`{"id":"a"}{"id":"b"}`, 0, true},
		{strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), 0, true},
	}
	for _, tt := range tests {
		found, err := decode([]byte(tt.body))
		if len(found) != tt.entries || (err != nil) != tt.bad {
			t.Errorf("%.40s: %d entries, %v, want %d, error %v", tt.body, len(found), err, tt.entries, tt.bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","input":{}}`, `[{"id":"a","input":{}},{"id":"b","input":null}]`, `{"id":7}`, `null`, `[[[]]]`, `"x"`,
		`{"id":"\u0000","input":1e999,"policy":{"executionTimeout":1e999}}`, `{"id":"\ud800","input":""}`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		found, err := decode(body)
		if err != nil {
			if json.Valid(body) && len(body) < 10_000 {
				t.Errorf("valid JSON was refused: %v", err)
			}
			return
		}
		for _, h := range found {
			switch {
			case h.job.ID == "" && (h.fault == "" || len(h.shape) > shapeLimit+3):
				t.Errorf("no id: %+v", h)
			case len(h.job.ID) > idLimit || strings.ContainsAny(h.job.ID, "\x00\r\n\x7f"):
				t.Errorf("bad id %q", h.job.ID)
			case h.fault == "" && !json.Valid(h.job.Input):
				t.Errorf("input %q", h.job.Input)
			case h.job.Timeout < 0 || h.job.Timeout > timeoutLimit:
				t.Errorf("timeout %s", h.job.Timeout)
			}
		}
	})
}

func TestBoundDoublesUpToItsLimit(t *testing.T) {
	var got []string
	for n := 1; n <= 9; n++ {
		got = append(got, bound(n, 250*time.Millisecond, 15*time.Second).String())
	}
	if want := "[250ms 500ms 1s 2s 4s 8s 15s 15s 15s]"; fmt.Sprint(got) != want {
		t.Errorf("bounds are %v, want %s", got, want)
	}
	if d := bound(1<<30, time.Second, time.Hour); d != time.Hour {
		t.Errorf("bound after 2^30 failures is %s", d)
	}
}

func TestSpreadIsNeverEarlyAndNotAllAtOnce(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 100 {
		d := spread(30 * time.Second)
		if d < 30*time.Second || d > 40*time.Second {
			t.Fatalf("30 s became %s", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("100 workers wait for %d different times", len(seen))
	}
	if d := spread(0); d != 0 {
		t.Errorf("nothing became %s", d)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-5": 0, "soon": 0, "99999999": time.Hour, "99999999999999999999": 0,
		"Mon, 23 Nov 2026 12:00:09 GMT": 9 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": 0,
	}
	for value, want := range tests {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
}

func TestMemoryKeepsTheLastWithinItsLimits(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("in a file", func(t *testing.T) { keepsTheLast(t, t.TempDir()) })
	t.Run("in memory", func(t *testing.T) { keepsTheLast(t, occupied) })
}

func keepsTheLast(t *testing.T, dir string) {
	now := time.Now()
	m := newMemory(Config{KeepJobs: 3, KeepFor: time.Hour, KeepResult: 100, KeepTotal: 100, SpoolDir: dir})
	put := func(id string, size int) {
		text := strings.Repeat(id, size)
		m.put(id, payload.Raw(job.Content{Size: int64(size), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(text)), nil
		}}), now)
	}
	has := func(want string) {
		t.Helper()
		var got string
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			found := m.find(id, now)
			if found != nil {
				got += id
			}
			if strings.Trim(string(found), id) != "" {
				t.Errorf("the result of %s is %q", id, found)
			}
		}
		if got != want {
			t.Errorf("it has %q, want %q", got, want)
		}
	}
	put("a", 10)
	put("b", 10)
	put("c", 10)
	put("d", 10)
	has("bcd")
	put("b", 90) // in place of the old one, and the last now
	has("bd")
	m.forget("d")
	has("b")
	put("e", 101)
	has("b")
	put("a", 100)
	now = now.Add(time.Hour)
	has("")
	if len(m.byID) != 0 || m.order.Len() != 0 {
		t.Errorf("it still holds %d ids, %d entries", len(m.byID), m.order.Len())
	}
}

// A stop of a job that was not on its way is forgotten: the job may be sent again.
func TestStopOfAnotherHandoutIsForgotten(t *testing.T) {
	r := newRegistry(Config{})
	r.cancel("before")
	end := r.poll()
	r.cancel("during")
	end()
	r.cancel("after")
	defer r.poll()()
	for _, id := range []string{"before", "during", "after"} {
		_, canceled, _ := r.admit(id, time.Now())
		select {
		case <-canceled:
			t.Errorf("a job is stopped by a word that came %s another poll", id)
		default:
		}
	}
}
