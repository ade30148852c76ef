package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func at(port string) string { return "http://127.0.0.1:" + port + "/a.bin" }

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestFileIsReadAgainAndLeavesNoName(t *testing.T) {
	want := strings.Repeat("0123456789", 100_000)
	port := serveAt(t, public, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, want) })
	c := open(t, nil)
	files, err := c.All(t.Context(), []*url.URL{mustParse(t, at(port))})
	if err != nil {
		t.Fatal(err)
	}
	if files[0].Size != int64(len(want)) {
		t.Errorf("size = %d, want %d", files[0].Size, len(want))
	}
	first, _ := files[0].Open()
	half := make([]byte, len(want)/2)
	if _, err := io.ReadFull(first, half); err != nil {
		t.Error(err)
	}
	second, _ := files[0].Open()
	for name, got := range map[string]io.Reader{"a reader that was disturbed": io.MultiReader(bytes.NewReader(half), first), "another reader": second} {
		if b, err := io.ReadAll(got); err != nil || string(b) != want {
			t.Errorf("%s has %d bytes: %v", name, len(b), err)
		}
	}
	if names, err := os.ReadDir(c.cfg.Dir); err != nil || len(names) != 0 {
		t.Errorf("the folder has %v while the file is in use: %v", names, err)
	}
	CloseAll(files)
	if _, err := second.Read(half); err == nil {
		t.Error("the file can be read after its end")
	}
}

// Four downloads go on at a time, in the order of the URLs, and the order of the
// files is theirs.
func TestFourAtATime(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	var once sync.Once
	full := make(chan struct{})
	port := serveAt(t, public, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now++
		if most = max(most, now); now == parallel {
			once.Do(func() { close(full) })
		}
		mu.Unlock()
		<-full
		mu.Lock()
		now--
		mu.Unlock()
		fmt.Fprint(w, r.URL.Path)
	})
	var urls []*url.URL
	for i := range 9 {
		urls = append(urls, mustParse(t, fmt.Sprintf("http://127.0.0.1:%s/%d", port, i)))
	}
	files, err := open(t, nil).All(t.Context(), urls)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(files)
	for i, f := range files {
		r, _ := f.Open()
		if b, err := io.ReadAll(r); err != nil || string(b) != fmt.Sprintf("/%d", i) {
			t.Errorf("file %d has %q: %v", i, b, err)
		}
	}
	if most != parallel {
		t.Errorf("%d downloads at a time, want %d", most, parallel)
	}
}

// No cookie, no password and no Referer goes out, and nothing compressed is
// asked for.
func TestRequestsTellLittle(t *testing.T) {
	var mu sync.Mutex
	var seen []http.Header
	port := serveAt(t, public, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header.Clone())
		mu.Unlock()
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		if r.URL.Path != "/there" {
			http.Redirect(w, r, "/there", http.StatusFound)
			return
		}
		fmt.Fprint(w, "x")
	})
	if _, err := get(open(t, nil), at(port)+"?token=1"); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 {
		t.Fatalf("%d requests, want 2", len(seen))
	}
	for _, h := range seen {
		for name := range h {
			if name != "User-Agent" && name != "Accept-Encoding" && name != "Connection" {
				t.Errorf("%s: %s goes out", name, h[name])
			}
		}
		if h.Get("Accept-Encoding") != "identity" {
			t.Errorf("Accept-Encoding is %q", h.Get("Accept-Encoding"))
		}
	}
}

func TestAnswersThatAreNoFile(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string
		again  bool
	}{
		{"not found", http.NotFound, "404 Not Found", false},
		{"expired", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "expired", false},
		{"server error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, "503 Service Unavailable", true},
		{"too many", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, "429", true},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "204", false},
		{"a part", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, "206", false},
		{"empty", func(http.ResponseWriter, *http.Request) {}, "empty", false},
		{"truncated", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "only this")
		}, "broke before", true},
		{"cut in a chunk", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "only this")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "broke before", true},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(conn, "220 ftp ready\r\n")
			conn.Close()
		}, "nobody answers", true},
		{"a header without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeader))
		}, "nobody answers", true},
		{"a redirect to nowhere", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }, "to no URL", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := serveAt(t, public, tt.answer)
			_, err := get(open(t, nil), at(port))
			e := fetchError(t, err)
			if !strings.Contains(e.Reason, tt.want) || e.Retryable != tt.again {
				t.Errorf("got %+v, want %q, retryable %t", e, tt.want, tt.again)
			}
		})
	}
}

// A body over the limit is given up at once where its length is told, and at the
// limit where it is not. Memory does not grow with it.
func TestFault_V8_HugeBodyIsGivenUp(t *testing.T) {
	const limit = 20 << 20
	block := make([]byte, 1<<20)
	flood := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	told := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3000000000")
		flood(w, r)
	}
	for name, answer := range map[string]http.HandlerFunc{"endless": flood, "length told": told} {
		t.Run(name, func(t *testing.T) {
			port := serveAt(t, public, answer)
			c := open(t, func(cfg *Config) { cfg.MaxBytes = limit })
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := get(c, at(port))
			runtime.ReadMemStats(&after)
			e := fetchError(t, err)
			if !strings.Contains(e.Reason, "20 MB in all (MAX_DOWNLOAD_MB)") || e.Retryable {
				t.Errorf("got %+v", e)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > limit/2 {
				t.Errorf("%d bytes of memory were taken for a file that goes to disk", grown)
			}
		})
	}
}

// The limit is one for all files of a job.
func TestLimitIsSharedByTheFiles(t *testing.T) {
	port := serveAt(t, public, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 400)) })
	c := open(t, func(cfg *Config) { cfg.MaxBytes = 1000 })
	u := mustParse(t, at(port))
	files, err := c.All(t.Context(), []*url.URL{u, u})
	if err != nil {
		t.Fatal(err)
	}
	CloseAll(files)
	if _, err := c.All(t.Context(), []*url.URL{u, u, u}); err == nil {
		t.Error("1,200 bytes were taken, the limit being 1,000")
	}
}

// A body that would unpack to a thousand times its size is not unpacked: what is
// sent compressed is refused, and a compressed file stays one.
func TestFault_V8_NothingIsUnpacked(t *testing.T) {
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write(make([]byte, 10<<20))
	zip.Close()
	port := serveAt(t, public, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/encoded" {
			w.Header().Set("Content-Encoding", "gzip")
		}
		_, _ = w.Write(bomb.Bytes())
	})
	c := open(t, nil)
	_, err := get(c, "http://127.0.0.1:"+port+"/encoded")
	if e := fetchError(t, err); !strings.Contains(e.Reason, "compressed") {
		t.Errorf("got %+v", e)
	}
	if body, err := get(c, "http://127.0.0.1:"+port+"/file.gz"); err != nil || !bytes.Equal(body, bomb.Bytes()) {
		t.Errorf("a compressed file came as %d bytes, want %d: %v", len(body), bomb.Len(), err)
	}
}

// drip is a client whose one connection leads to a server that sends a byte in
// every interval, after a head.
func drip(t *testing.T, interval time.Duration, head string) *Client {
	c := open(t, nil)
	c.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		gone := make(chan struct{})
		asked := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = there.Read(make([]byte, 4096))
			close(asked)
			_, _ = there.Read(make([]byte, 1)) // returns when the client has hung up
		}()
		go func() {
			defer there.Close()
			<-asked
			for text := head; ; text = "x" {
				if _, err := io.WriteString(there, text); err != nil {
					return
				}
				select {
				case <-time.After(interval):
				case <-gone:
					return
				}
			}
		}()
		return here, nil
	}
	return c
}

// A server that sends nothing, or next to nothing, does not hold a job: the
// download ends after 30 s of silence, and after 10 min in any case.
func TestFault_V8_SlowServersAreGivenUp(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
	tests := []struct {
		name     string
		interval time.Duration
		head     string
		want     string
		after    time.Duration
	}{
		{"silent from the start", time.Hour, "", "nobody answers", 30 * time.Second},
		{"silent in the header", time.Hour, "HTTP/1.1 200", "nobody answers", 30 * time.Second},
		{"silent in the body", time.Hour, head, "sent nothing for 30s", 30 * time.Second},
		{"a byte every 20 s", 20 * time.Second, head, "longer than 10m", 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := drip(t, tt.interval, tt.head)
				start := time.Now()
				_, err := get(c, "http://a.example/a.bin")
				e := fetchError(t, err)
				if took := time.Since(start); took != tt.after {
					t.Errorf("it took %v, want %v", took, tt.after)
				}
				if !strings.Contains(e.Reason, tt.want) || !e.Retryable {
					t.Errorf("got %+v, want %q", e, tt.want)
				}
			})
		})
	}
}

// When the job ends so does its download, with the job's reason.
func TestDownloadEndsWithTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the job was canceled")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(gone) })
		c := drip(t, time.Second, "HTTP/1.1 200 OK\r\n\r\n")
		if _, err := c.All(ctx, []*url.URL{mustParse(t, "http://a.example/")}); err != gone {
			t.Errorf("got %v, want %v", err, gone)
		}
	})
}

// One file that cannot be had ends the wait for the others.
func TestOneFailureEndsTheOthers(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	port := serveAt(t, public, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			http.NotFound(w, r)
			return
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	slow, bad := mustParse(t, at(port)), mustParse(t, "http://127.0.0.1:"+port+"/bad")
	_, err := open(t, nil).All(t.Context(), []*url.URL{slow, bad, slow})
	if e := fetchError(t, err); !strings.HasSuffix(e.URL, "/bad") {
		t.Errorf("got %v", e)
	}
}

// A folder that cannot be written to is not the URL's fault.
func TestNoRoomIsNotTheURLsFault(t *testing.T) {
	c := open(t, func(cfg *Config) { cfg.Dir = "/dev/null/x" })
	_, err := c.All(t.Context(), []*url.URL{mustParse(t, "http://127.0.0.1:1/")})
	var e *Error
	if err == nil || errors.As(err, &e) || !strings.Contains(err.Error(), "/dev/null/x") {
		t.Errorf("got %v, want an error about the folder", err)
	}
}
