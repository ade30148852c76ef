package secret

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

// maxHeld bounds how much of an unfinished line a Writer keeps back.
const maxHeld = 64 << 10

// A Writer scrubs what is written through it, however the writes are cut.
// Whole lines go on at once; of a line whose end has not come yet the beginning
// is held back, 64 KiB of it at most. It may be used from any goroutine.
type Writer struct {
	s *Scrubber
	w io.Writer

	mu   sync.Mutex
	held []byte
}

// Writer returns a writer to w. The caller calls Flush after the last write.
func (s *Scrubber) Writer(w io.Writer) *Writer { return &Writer{s: s, w: w} }

// Write always reports all of p as written unless the writer below fails.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, p...)
	if err := w.pass(w.settled()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what is held back, and syncs the writer below if it can be
// synced. A secret that goes on in a later write is no longer found.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.pass(len(w.held)); err != nil {
		return err
	}
	if f, ok := w.w.(interface{ Sync() error }); ok {
		return f.Sync()
	}
	return nil
}

// pass writes the first n of the held bytes.
func (w *Writer) pass(n int) error {
	if n == 0 {
		return nil
	}
	_, err := w.w.Write(w.s.Bytes(w.held[:n]))
	w.held = slices.Delete(w.held, 0, n)
	return err
}

// settled returns how many of the held bytes can be passed on: no pattern
// begins among them that could end behind them.
func (w *Writer) settled() int {
	n := bytes.LastIndexByte(w.held, '\n') + 1
	if len(w.held)-n <= maxHeld {
		return n
	}
	n = max(n, len(w.held)-max(w.s.longest()-1, 0))
	for _, sp := range w.s.find(w.held) {
		if sp.start < n && n < sp.end {
			n = sp.end
		}
	}
	return n
}
