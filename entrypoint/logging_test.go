package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

// logged returns what a logger of that kind writes.
func logged(cfg LogConfig, scrub *secret.Scrubber, write func(*zap.Logger)) string {
	var out bytes.Buffer
	log, flush := newLogger(cfg, &out, scrub, func(int) {})
	write(log)
	flush()
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)`).ReplaceAllString(out.String(), "TIME")
}

func sample(log *zap.Logger) {
	log.Named("supervisor").Info("process started", zap.Int("incarnation", 2), zap.Duration("backoff", time.Second))
	log.Named("worker").With(zap.String("job", "j-1")).Warn("output is large", zap.Int64("bytes", 7))
	log.Named("worker").Error("job failed", zap.String("job", "j-2"), zap.Error(errors.New("a\nb")))
	log.Debug("not shown")
	log.Named("comfyui").Info("\x1b[1m\x1b[33m[WARNING]\x1b[0m low VRAM", zap.String("stream", "stdout"))
	log.Named("comfyui.1").Info("got prompt", zap.String("stream", "stderr"))
}

func TestConsoleLines(t *testing.T) {
	want := `TIME  INFO   supervisor  process started  {"incarnation": 2, "backoff": "1s"}
TIME  WARN   worker  output is large  {"job": "j-1", "bytes": 7}
TIME  ERROR  worker  job failed  {"job": "j-2", "error": "a\nb"}
comfyui | [WARNING] low VRAM
comfyui.1 | got prompt
`
	if diff := cmp.Diff(want, logged(LogConfig{Level: "info"}, new(secret.Scrubber), sample)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestJSONLinesAreThoseOfTheSDK(t *testing.T) {
	want := `{"level":"INFO","time":"TIME","logger":"supervisor","message":"process started","requestId":null,"incarnation":2,"backoff":"1s"}
{"level":"WARN","time":"TIME","logger":"worker","message":"output is large","requestId":"j-1","bytes":7}
{"level":"ERROR","time":"TIME","logger":"worker","message":"job failed","requestId":"j-2","error":"a\nb"}
{"level":"WARN","time":"TIME","logger":"comfyui","message":"[WARNING] low VRAM","requestId":null,"stream":"stdout"}
{"level":"INFO","time":"TIME","logger":"comfyui.1","message":"got prompt","requestId":null,"stream":"stderr"}
`
	if diff := cmp.Diff(want, logged(LogConfig{Level: "info", Format: "json"}, new(secret.Scrubber), sample)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLevelHoldsForUsAndNotForComfyUI(t *testing.T) {
	for level, want := range map[string]int{"debug": 6, "info": 5, "warn": 4, "error": 3} {
		got := logged(LogConfig{Level: level}, new(secret.Scrubber), sample)
		if n := strings.Count(got, "\n"); n != want {
			t.Errorf("level %s: %d lines, want %d:\n%s", level, n, want, got)
		}
	}
}

func TestChildLevel(t *testing.T) {
	for line, want := range map[string]string{
		"[DEBUG] x": "debug", "[DETAIL] x": "debug", "[INFO] x": "info", "[WARNING] x": "warn",
		"[ERROR] x": "error", "[CRITICAL] x": "error", "": "info", "[": "info", "[ERROR]": "info",
		"ERROR] x": "info", "x [ERROR] y": "info", "[Manager] x": "info",
	} {
		if got := childLevel(line).String(); got != want {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
	}
}

// A line that a custom node prints cannot look like one of ours, begin a second
// line, or move the cursor of a terminal, in either format.
func TestFault_X4_NodesCannotForgeLines(t *testing.T) {
	forged := "TIME  ERROR  worker  job failed"
	lines := map[string]string{
		forged:                             "comfyui | " + forged,
		"a\n" + forged:                     `comfyui | a\n` + forged,
		"a\r" + forged:                     `comfyui | a\r` + forged,
		"\x1b[2K\x1b[1A" + forged:          `comfyui | \x1b[2K\x1b[1A` + forged,
		"\x1b[31mred\x1b[0m \x1b[38;5;9mx": "comfyui | red x",
		"\x1b[31":                          `comfyui | \x1b[31`,
		"\x1b]0;title\a":                   `comfyui | \x1b]0;title\a`,
		"\u009b2K":                         `comfyui | \u009b2K`,
		"\u202eoops\u2066":                 `comfyui | \u202eoops\u2066`,
		"a\u2028b\u2029c\x85\x00\b\x7f":    `comfyui | a\u2028b\u2029c\x85\x00\b\x7f`,
		"tab\tand ünïcode 模型 👍🏽 \ufffd stay": "comfyui | tab\tand ünïcode 模型 👍🏽 \ufffd stay",
		"\xff\xfe":                          `comfyui | \xff\xfe`,
		`{"level":"ERROR","requestId":"j"}`: `comfyui | {"level":"ERROR","requestId":"j"}`,
		"comfyui | x":                       "comfyui | comfyui | x",
		"":                                  "comfyui | ",
	}
	for line, want := range lines {
		print := func(log *zap.Logger) { log.Named(childName).Info(line, zap.String("stream", "stdout")) }
		if got := logged(LogConfig{Level: "info"}, new(secret.Scrubber), print); got != want+"\n" {
			t.Errorf("console: %q\ngot  %q\nwant %q", line, got, want+"\n")
		}
		got := logged(LogConfig{Format: "json"}, new(secret.Scrubber), print)
		var entry struct{ Logger, Message, Level, RequestID string }
		if err := json.Unmarshal([]byte(got), &entry); err != nil {
			t.Errorf("json: %q: %v in %q", line, err, got)
		}
		message := strings.TrimPrefix(want, "comfyui | ")
		if entry.Logger != childName || entry.Message != message || entry.Level != "INFO" || strings.Count(got, "\n") != 1 {
			t.Errorf("json: %q became %q, want the message %q", line, got, message)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[1;31m[ERROR]\x1b[0m \x1b[2J\u202e\xff\u2028")
	f.Add("\x1b[\x1b[0mm")
	f.Fuzz(func(t *testing.T, s string) {
		got := plain(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: %q is no UTF-8", s, got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r != utf8.RuneError && suspicious(r) }); i >= 0 {
			t.Errorf("%q: %q has a character that is left at %d", s, got, i)
		}
		if again := plain(got); again != got {
			t.Errorf("%q: %q becomes %q", s, got, again)
		}
	})
}

func TestLogsAreScrubbed(t *testing.T) {
	const canary = `canary"4f1d9a/x`
	scrub := new(secret.Scrubber)
	scrub.Add(canary)
	for _, format := range []string{"console", "json"} {
		got := logged(LogConfig{Format: format}, scrub, func(log *zap.Logger) {
			log.Info("x", zap.String("header", "Bearer "+canary), zap.Error(fmt.Errorf("get %q", canary)))
			log.Named("comfyui").Info("KEY=can\x1b[0mary" + canary[6:])
		})
		if strings.Contains(got, "4f1d9a") || strings.Count(got, "***") != 3 {
			t.Errorf("%s: got %s", format, got)
		}
	}
}

// stalled is a stdout that nobody reads until it is released.
type stalled struct {
	release chan struct{}
	mu      sync.Mutex
	buf     bytes.Buffer
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *stalled) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSpace(s.buf.String()), "\n")
}

// While nobody reads our stdout, logging takes no time and a bounded amount of
// memory; the end waits half a second and no longer.
func TestFault_C14_StalledStdoutDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalled{release: make(chan struct{})}
		log, flush := newLogger(LogConfig{Format: "json"}, out, new(secret.Scrubber), func(int) {})
		began := time.Now()
		for n := range 15_000 {
			log.Info("line", zap.Int("n", n), zap.String("filler", strings.Repeat("x", 100)))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("logging waited %v", took)
		}
		flush()
		if took := time.Since(began); took != logFlush {
			t.Errorf("the end waited %v, want %v", took, logFlush)
		}
		close(out.release) // lets the goroutine end with the bubble
	})
}

// When the reader goes on, a notice tells how many lines were dropped, they are
// the oldest ones, and what follows is complete.
func TestFault_C14_DroppedLinesAreCounted(t *testing.T) {
	const total = 15_000
	synctest.Test(t, func(t *testing.T) {
		out := &stalled{release: make(chan struct{})}
		told := 0
		log, flush := newLogger(LogConfig{Format: "json"}, out, new(secret.Scrubber), func(n int) { told += n })
		for n := range total {
			log.Info("line", zap.Int("n", n), zap.String("filler", strings.Repeat("x", 100)))
		}
		close(out.release)
		flush()

		var got []int
		notices, at := 0, 0
		for i, line := range out.lines() {
			var entry struct {
				Message string
				N       *int
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("line %d is cut: %v: %s", i, err, line)
			}
			if entry.N != nil {
				got = append(got, *entry.N)
				continue
			}
			if _, err := fmt.Sscanf(entry.Message, "%d lines dropped", &at); err != nil {
				t.Errorf("odd line %s", line)
			}
			notices++
		}
		if notices != 1 || at != told || at+len(got) != total {
			t.Errorf("%d notices of %d dropped (%d told), %d lines arrived, want %d together", notices, at, told, len(got), total)
		}
		if len(got) == 0 || got[len(got)-1] != total-1 {
			t.Error("the last line is lost")
		}
		for i := 1; i < len(got); i++ {
			if gap := got[i] - got[i-1] - 1; gap != 0 && gap != at {
				t.Errorf("%d lines are missing before %d", gap, got[i])
			}
		}
	})
}

func TestLogWriterKeepsItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stalled{release: make(chan struct{})}
		w := newLogWriter(out, new(secret.Scrubber), func(int) []byte { return nil })
		for _, size := range []int{10, logPending, 1, logPending - 1, logPending + 1, 3 * logPending, 100, logPending / 2, logPending / 2} {
			_, _ = w.Write(append(bytes.Repeat([]byte{'x'}, size-1), '\n'))
			w.mu.Lock()
			if n := len(w.pending); n > logPending || n > 0 && w.pending[n-1] != '\n' {
				t.Errorf("after a line of %d bytes %d are kept", size, n)
			}
			w.mu.Unlock()
		}
		close(out.release)
		w.Close()
	})
}

// The same with a real pipe: the program writes far more than it holds.
func TestFault_C14_UnreadPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log, flush := newLogger(LogConfig{}, w, new(secret.Scrubber), func(int) {})
	for range 12_000 {
		log.Info("line", zap.String("filler", strings.Repeat("x", 100)))
	}
	began := time.Now()
	flush()
	if took := time.Since(began); took > 5*logFlush {
		t.Errorf("the end took %v, want about %v", took, logFlush)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	flush() // ends the goroutine that writes
	_ = w.Close()
}

const pipeMode = "COMFYVISOR_TEST_PIPE"

// TestBrokenPipeProgram is not a test but the program that the test below starts
// with a stdout that is closed at the other end.
func TestBrokenPipeProgram(t *testing.T) {
	switch os.Getenv(pipeMode) {
	case "":
		t.Skip("is run by another test")
	case "logger":
		catchSignals()
		log, flush := newLogger(LogConfig{}, os.Stdout, new(secret.Scrubber), func(int) {})
		for range 100 {
			log.Info("line")
		}
		flush()
	}
	if _, err := os.Stdout.WriteString("direct"); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write: %v, want a broken pipe", err)
	}
	os.Exit(7)
}

// A stdout that is closed at the other end does not end the program, as it does
// where nobody takes the signal.
func TestFault_C15_BrokenStdoutIsSurvived(t *testing.T) {
	for mode, want := range map[string]string{"logger": "exit status 7", "off": "signal: broken pipe"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		cmd := exec.Command(os.Args[0], "-test.run=^TestBrokenPipeProgram$", "-test.count=1")
		cmd.Env = []string{pipeMode + "=" + mode, "GORACE=atexit_sleep_ms=0"}
		cmd.Stdout, cmd.Stderr = w, os.Stderr
		if err := cmd.Run(); err == nil || err.Error() != want {
			t.Errorf("%s: ended with %v, want %s", mode, err, want)
		}
		_ = w.Close()
	}
}

func BenchmarkLogWriter(b *testing.B) {
	scrub := new(secret.Scrubber)
	for i := range 8 {
		scrub.Add(fmt.Sprintf("wJalrXUtnFEMI/K7MDENG/bPxRfiCY%d", i))
	}
	line := []byte(strings.Repeat("got prompt ", 10) + "\n")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	w := newLogWriter(null, scrub, func(int) []byte { return nil })
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.Write(line)
	}
	w.Close()
}

func BenchmarkLogger(b *testing.B) {
	for _, format := range []string{"console", "json"} {
		b.Run(format, func(b *testing.B) {
			log, flush := newLogger(LogConfig{Format: format}, io.Discard, new(secret.Scrubber), func(int) {})
			log = log.Named(childName)
			line := "\x1b[32m[INFO]\x1b[0m " + strings.Repeat("Requested to load model ", 4)
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				log.Info(line, zap.String("stream", "stdout"))
			}
			flush()
		})
	}
}
