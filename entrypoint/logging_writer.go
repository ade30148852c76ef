package main

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/secret"
)

const (
	// logPending bounds the bytes of lines that wait to be written. As many
	// again may be in the write that is under way.
	logPending = 1 << 20
	// logFlush is how long Close waits for a reader of the log.
	logFlush = 500 * time.Millisecond
)

// A logWriter takes lines without ever waiting for whoever reads the log. When
// that one stalls, the oldest lines are dropped; when it goes on, a notice tells
// how many. Errors of the writer below are not told to anybody, there being no
// place left to tell them.
type logWriter struct {
	out    io.Writer
	scrub  *secret.Scrubber
	notice func(dropped int) []byte

	mu      sync.Mutex
	pending []byte // whole lines
	dropped int    // lines lost since the last notice
	closed  bool

	wake chan struct{} // holds a token after each change
	done chan struct{}
}

// newLogWriter starts the goroutine that writes to out; Close ends it.
func newLogWriter(out io.Writer, scrub *secret.Scrubber, notice func(dropped int) []byte) *logWriter {
	w := &logWriter{out: out, scrub: scrub, notice: notice,
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write takes whole lines, scrubs them and returns at once. Lines that come
// after Close are lost.
func (w *logWriter) Write(lines []byte) (int, error) {
	clean := w.scrub.Bytes(lines)
	w.mu.Lock()
	if !w.closed {
		w.add(clean)
	}
	w.mu.Unlock()
	w.nudge()
	return len(lines), nil
}

// Sync does nothing: to wait for the reader of the log is what Close is for.
func (w *logWriter) Sync() error { return nil }

// Close waits until everything is written, half a second at most.
func (w *logWriter) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.nudge()
	timeout := time.NewTimer(logFlush)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
	}
}

func (w *logWriter) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// add appends lines, for which it makes room. A quarter of the room is made at
// a time, since it costs a move of all the rest.
func (w *logWriter) add(lines []byte) {
	if over := len(w.pending) + len(lines) - logPending; over > 0 {
		cut := min(max(over, logPending/4), len(w.pending))
		if i := bytes.IndexByte(w.pending[cut:], '\n'); cut > 0 && w.pending[cut-1] != '\n' && i >= 0 {
			cut += i + 1
		}
		w.dropped += bytes.Count(w.pending[:cut], []byte{'\n'})
		w.pending = append(w.pending[:0], w.pending[cut:]...)
	}
	if len(w.pending)+len(lines) > logPending {
		w.dropped += bytes.Count(lines, []byte{'\n'})
		return
	}
	w.pending = append(w.pending, lines...)
}

func (w *logWriter) run() {
	defer close(w.done)
	var batch []byte
	for {
		w.mu.Lock()
		batch, w.pending = w.pending, batch[:0]
		dropped, closed := w.dropped, w.closed
		w.dropped = 0
		w.mu.Unlock()

		if dropped > 0 {
			_, _ = w.out.Write(w.notice(dropped))
		}
		switch {
		case len(batch) > 0:
			_, _ = w.out.Write(batch)
		case closed:
			return
		default:
			<-w.wake
		}
	}
}
