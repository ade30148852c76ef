package comfytest

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// serveFaulty answers a request as a rule would have it.
func (c *Comfy) serveFaulty(w http.ResponseWriter, r *http.Request, f Fault) {
	if f.Do != "drip" && !c.sleep(r.Context(), f.Delay) {
		panic(http.ErrAbortHandler)
	}
	switch f.Do {
	case "":
		c.serve(w, r)
	case "answer":
		_, _ = io.Copy(io.Discard, r.Body)
		f.write(w)
	case "ran":
		c.serve(new(discarded), r)
		f.write(w)
	case "lost":
		c.serve(new(discarded), r)
		panic(http.ErrAbortHandler)
	case "reset":
		panic(http.ErrAbortHandler)
	case "hang":
		c.hang(r)
		panic(http.ErrAbortHandler)
	case "drip":
		c.serve(&drip{ResponseWriter: w, c: c, r: r, every: f.Delay, chunk: max(1, f.Bytes)}, r)
	case "truncate":
		c.serve(&truncated{ResponseWriter: w, left: f.After}, r)
	default:
		http.Error(w, "comfytest: no fault is called "+strconv.Quote(f.Do), http.StatusNotImplemented)
	}
}

// write sends the answer that the rule makes up.
func (f Fault) write(w http.ResponseWriter) {
	kind := f.Type
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	status := orStatus(f.Status, http.StatusInternalServerError)
	if status/100 == 3 {
		w.Header().Set("Location", f.Body)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, f.Body)
}

func orStatus(status, otherwise int) int {
	if status == 0 {
		return otherwise
	}
	return status
}

// discarded takes an answer that nobody gets.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header {
	if d.header == nil {
		d.header = make(http.Header)
	}
	return d.header
}
func (d *discarded) WriteHeader(int)             {}
func (d *discarded) Write(b []byte) (int, error) { return len(b), nil }

// drip sends an answer a few bytes at a time.
type drip struct {
	http.ResponseWriter
	c     *Comfy
	r     *http.Request
	every time.Duration
	chunk int
}

func (d *drip) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		n, err := d.ResponseWriter.Write(b[sent:min(len(b), sent+d.chunk)])
		sent += n
		if err != nil {
			return sent, err
		}
		_ = http.NewResponseController(d.ResponseWriter).Flush()
		if !d.c.sleep(d.r.Context(), d.every) {
			panic(http.ErrAbortHandler)
		}
	}
	return sent, nil
}

// truncated cuts the connection after some bytes of the body, whose full
// length was announced.
type truncated struct {
	http.ResponseWriter
	left int
}

func (t *truncated) Write(b []byte) (int, error) {
	if t.Header().Get("Content-Length") == "" {
		t.Header().Set("Content-Length", strconv.Itoa(len(b)))
	}
	if len(b) <= t.left {
		t.left -= len(b)
		return t.ResponseWriter.Write(b)
	}
	_, _ = t.ResponseWriter.Write(b[:t.left])
	_ = http.NewResponseController(t.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
