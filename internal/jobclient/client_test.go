package jobclient

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request as answer says, and gathers what was asked.
func serve(t *testing.T, answer http.HandlerFunc) (*Client, *[]string) {
	t.Helper()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), body)))
		answer(w, r)
	}))
	c, err := New(Config{URL: server.URL + "/v2/abc/", Token: "key", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); server.Close() })
	return c, &asked
}

func TestRequests(t *testing.T) {
	c, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"id":"job/1","status":"IN_QUEUE","message":"soon","jobs":{"inQueue":3}}`)
	})
	id, err := c.Submit(t.Context(), json.RawMessage(`{"input":{}}`))
	if err != nil || id != "job/1" {
		t.Errorf("Submit: %q, %v", id, err)
	}
	j, err := c.Job(t.Context(), id)
	if err != nil || j.State != Queued {
		t.Errorf("Job: %+v, %v", j, err)
	}
	if state, err := c.Cancel(t.Context(), id); err != nil || state != Queued {
		t.Errorf("Cancel: %v, %v", state, err)
	}
	if text, err := c.Restart(t.Context(), true); err != nil || text != "soon" {
		t.Errorf("Restart: %q, %v", text, err)
	}
	if h, err := c.Health(t.Context()); err != nil || h.Jobs.InQueue != 3 {
		t.Errorf("Health: %+v, %v", h, err)
	}
	want := []string{
		`POST /v2/abc/run Bearer key {"input":{}}`,
		`GET /v2/abc/status/job%2F1 Bearer key`,
		`POST /v2/abc/cancel/job%2F1 Bearer key`,
		`POST /v2/abc/restart Bearer key {"force":true}`,
		`GET /v2/abc/health Bearer key`,
	}
	if diff := cmp.Diff(want, *asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		code    int
		body    string
		want    string
		passing bool
	}{
		{401, `{"error":"unauthorized"}`, "answered 401 Unauthorized: unauthorized", false},
		{429, `{"error":"the queue is full"}`, "answered 429 Too Many Requests: the queue is full", true},
		{502, "<html>\n<body>", "answered 502 Bad Gateway: <html>", true},
		{400, `{"error":{"a":1}}`, `answered 400 Bad Request: {"a":1}`, false},
		{404, "", "answered 404 Not Found", false},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tt.code)
			_, _ = io.WriteString(w, tt.body)
		})
		_, err := c.Submit(t.Context(), json.RawMessage(`{}`))
		if err == nil || !strings.HasSuffix(err.Error(), tt.want) || Passing(err) != tt.passing {
			t.Errorf("%d: got %v (passing %v), want %s (%v)", tt.code, err, Passing(err), tt.want, tt.passing)
		}
	}
}

func TestURLsThatAreNone(t *testing.T) {
	for _, u := range []string{"", "localhost:8000", "ftp://x", "http://", "http://user:secret@host", "http://host?key=secret", "http://h\x00"} {
		_, err := New(Config{URL: u})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", u, err)
		}
	}
}

func TestAnswersOfSomethingElse(t *testing.T) {
	for _, body := range []string{"", "hello", "[]", "{}", `{"status":1}`, `{"id":"x","status":"COMPLETED","output":"`} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, body) })
		if j, err := c.Job(t.Context(), "x"); err == nil {
			t.Errorf("%q was understood: %+v", body, j)
		}
	}
}

func TestResult(t *testing.T) {
	small, large := []byte("small"), bytes.Repeat([]byte("large "), 20000)
	text := strings.Repeat("word ", 10000)
	doc, err := json.Marshal(map[string]any{
		"id": "j", "status": "COMPLETED", "delayTime": 5, "executionTime": 1500,
		"output": map[string]any{
			"images": []any{
				map[string]any{"filename": "a.png", "type": "base64", "data": small},
				map[string]any{"filename": "b.mp4", "type": "base64", "data": large},
			},
			"files": []any{
				map[string]any{"filename": "a.png", "kind": "images", "node_id": "9", "size": 5, "mime_type": "image/png", "type": "base64"},
				map[string]any{"filename": "b.mp4", "kind": "images", "size": len(large), "type": "base64"},
				map[string]any{"filename": "c.flac", "kind": "audio", "subfolder": "s", "size": 3, "type": "s3_url", "data": "https://bucket/c"},
			},
			"values": map[string]any{"7": map[string]any{"text": []string{text}}},
			"errors": []string{"a warning"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(doc) })
	j, err := c.Job(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	type told struct {
		Name, Subfolder, Node, Kind, MIME, URL string
		Size                                   int64
	}
	want := []told{
		{"a.png", "", "9", "images", "image/png", "", 5},
		{"b.mp4", "", "", "images", "", "", int64(len(large))},
		{"c.flac", "s", "", "audio", "", "https://bucket/c", 3},
	}
	var got []told
	for _, f := range j.Files {
		got = append(got, told{f.Name, f.Subfolder, f.Node, f.Kind, f.MIME, f.URL, f.Size})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for i, content := range [][]byte{small, large} {
		r, err := c.Open(t.Context(), j, j.Files[i])
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, content) {
			t.Errorf("file %d: %d bytes, %v", i, len(b), err)
		}
	}
	if v := string(j.Values["7"]); !strings.Contains(v, text) {
		t.Errorf("the long value is %.80s", v)
	}
	if j.Warnings[0] != "a warning" || j.Delay.Milliseconds() != 5 || j.Execution.Seconds() != 1.5 {
		t.Errorf("got %v %v %v", j.Warnings, j.Delay, j.Execution)
	}
}

// A worker of another kind lists images alone, and RunPod tells failures in its
// own way.
func TestOtherShapes(t *testing.T) {
	for _, tt := range []struct {
		doc  string
		want Job
	}{
		{`{"id":"a","status":"COMPLETED","output":{"images":[{"filename":"x.png","type":"s3_url","data":"https://b/x"}]}}`,
			Job{ID: "a", State: Completed, Files: []File{{Name: "x.png", Kind: "images", Size: -1, URL: "https://b/x"}}}},
		{`{"id":"a","status":"COMPLETED","output":"text"}`, Job{ID: "a", State: Completed}},
		{`{"id":"a","status":"FAILED","error":"boom","output":{"cause":"node_failed"}}`, Job{ID: "a", State: Failed, Error: "boom", Cause: "node_failed"}},
		{`{"id":"a","status":"FAILED","output":{"error":{"why":1}}}`, Job{ID: "a", State: Failed, Error: `{"why":1}`}},
		{`{"id":"a","status":"IN_PROGRESS","output":{"percent":40,"phase":"execute","node":"3","step":8,"steps":20}}`,
			Job{ID: "a", State: Running, Progress: &Progress{Percent: 40, Phase: "execute", Node: "3", Step: 8, Steps: 20}}},
		{`{"id":"a","status":"IN_PROGRESS","output":"halfway"}`, Job{ID: "a", State: Running}},
		{`{"id":"a","status":"RUNNING"}`, Job{ID: "a", State: "RUNNING"}},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, tt.doc) })
		j, err := c.Job(t.Context(), "a")
		if err != nil {
			t.Errorf("%s: %v", tt.doc, err)
			continue
		}
		j.Output = nil
		if diff := cmp.Diff(tt.want, *j, cmp.AllowUnexported(File{}, Job{}, hole{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.doc, diff)
		}
	}
}

// A cut answer is an error that passes, not a shorter result.
func TestCutAnswer(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"id":"a","status":"COMPLETED"}`)
	})
	if _, err := c.Job(t.Context(), "a"); !errors.Is(err, io.ErrUnexpectedEOF) || !Passing(err) {
		t.Errorf("got %v", err)
	}
}

// Errors of a download show the host and none of the URL, which may be signed.
func TestDownloadErrorsHideTheURL(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) })
	for _, u := range []string{c.URL() + "/f?signature=secret", "http://127.0.0.1:1/f?signature=secret", "file:///etc/passwd?secret", "http://h\x00?secret"} {
		_, err := c.Open(t.Context(), &Job{}, File{Name: "f.png", URL: u})
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "f.png") {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// A result of 40 MB is read, and its file decoded, in a few MB of memory.
func TestLargeResultInLittleMemory(t *testing.T) {
	block := make([]byte, 48<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(block)
	text, blocks := base64.StdEncoding.EncodeToString(block), 640
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"id":"j","status":"COMPLETED","output":{"images":[{"filename":"big.bin","type":"base64","data":"`)
		for range blocks {
			_, _ = io.WriteString(w, text)
		}
		_, _ = io.WriteString(w, `"}]}}`)
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	j, err := c.Job(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	r, err := c.Open(t.Context(), j, j.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(block))
	for i := range blocks {
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, block) {
			t.Fatalf("block %d is not what was sent (%v)", i, err)
		}
	}
	if n, err := r.Read(got); n != 0 || err != io.EOF {
		t.Errorf("%d bytes more, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 12<<20 {
		t.Errorf("%d MB were allocated", used>>20)
	}
}

func FuzzSkeleton(f *testing.F) {
	f.Add([]byte(`{"a":"b\"c","d":["\\","x"]}`), 0)
	f.Add([]byte(`"`), 1)
	f.Add([]byte(`"\`), 40000)
	f.Fuzz(func(t *testing.T, doc []byte, long int) {
		padded := append(bytes.Clone(doc), bytes.Repeat([]byte("x"), max(0, min(long, 100000)))...)
		s, err := cut(bytes.NewReader(padded), "mark#")
		if err != nil {
			return
		}
		whole, err := s.fill(s.text, bytes.NewReader(padded))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(padded, []byte("mark#")) && !bytes.Equal(whole, padded) {
			t.Errorf("%q became %q", padded, whole)
		}
	})
}

// Whatever a server says of a job, it is a job of some status or an error.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","status":"COMPLETED","output":{"images":[{"filename":"a.png","type":"base64","data":"aGk="}],"files":[{"filename":"a.png"}]}}`,
		`{"id":"a","status":"FAILED","error":{"x":1},"output":{"cause":"oom","error":7}}`, `{"status":"IN_PROGRESS","output":{"phase":"execute"}}`,
		`{"status":"COMPLETED","output":[]}`, `{"status":"COMPLETED","output":{"images":{},"files":[null,7],"values":{"1":2}}}`,
		`{"status":"COMPLETED","delayTime":1e300}`, `null`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		bones, err := cut(bytes.NewReader(answer), "mark#")
		if err != nil {
			return
		}
		j, err := read(bones)
		if (err == nil) != (j != nil) {
			t.Fatalf("%q became %+v and %v", answer, j, err)
		}
		if j != nil && (j.State == "" || j.State.Final() && j.Progress != nil) {
			t.Errorf("%q became %+v", answer, j)
		}
	})
}
