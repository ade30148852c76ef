package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The lines of the process can be reset, fall silent and drip, and are as before then.
func TestLinesCanBeSpoilt(t *testing.T) {
	const answer = 8 * dripBytes
	var x lines
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/reset" {
			x.spoil("reset", 0)
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), answer))
	})}
	served := make(chan error)
	go func() { served <- server.Serve(x.listen(l)) }()
	defer func() { server.Close(); <-served }()
	ask := func(path string) (took time.Duration, err error) {
		begun := time.Now()
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); n != answer || err != nil {
			t.Errorf("%s: %d bytes, %v", path, n, err)
		}
		return time.Since(begun), nil
	}
	defer http.DefaultClient.CloseIdleConnections()

	x.spoil("silent", 200*time.Millisecond)
	if took, err := ask("/"); took < 150*time.Millisecond || err != nil {
		t.Errorf("silent: answered after %v, %v", took, err)
	}
	x.spoil("drip", time.Hour)
	if took, err := ask("/"); took < answer/dripBytes/2*dripPause || err != nil {
		t.Errorf("drip: answered after %v, %v", took, err)
	}
	x.spoil("drip", 0)
	if _, err := ask("/reset"); err == nil || !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("reset: %v", err)
	}
	if _, err := ask("/"); err != nil {
		t.Errorf("in the end: %v", err)
	}
}
