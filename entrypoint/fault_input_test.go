package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// sounds serves size bytes at any path, and calls halfway when half of them are out.
func sounds(t *testing.T, size int, halfway func(r *http.Request)) string {
	t.Helper()
	half := make([]byte, size/2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(2*len(half)))
		_, _ = w.Write(half) // the client may have gone
		halfway(r)
		_, _ = w.Write(half)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// loads is a job that has ComfyUI read a file from a URL.
func loads(url string) string {
	return `{"workflow":{
		"1":{"class_type":"LoadAudio","inputs":{"audio":"a.wav"}},
		"2":{"class_type":"SaveAudio","inputs":{"audio":["1",0],"filename_prefix":"sound"}}},
		"files":[{"url":"` + url + `/a.wav"}]}`
}

// A file from a URL reaches ComfyUI although it is larger than what ComfyUI takes
// by itself, and memory does not follow its size.
func TestFault_V8_LargeDownloadsDoNotGrowMemory(t *testing.T) {
	t.Parallel()
	const size = 150_000_000
	url := sounds(t, size, func(*http.Request) {})
	p := built(t, with(local, "ALLOW_PRIVATE_URLS", "true"))
	p.job(picture(1))
	before := p.peak()
	if a := p.job(loads(url)); a.Status != "COMPLETED" {
		t.Errorf("the job ended as %s: %s", a.Status, a.Error)
	}
	if after := p.peak(); after > before+growth {
		t.Errorf("resident memory rose from %d to %d MiB", before, after)
	}
	p.nothingDownloaded()
}

// By default URLs that only this pod can reach are refused, and with
// MAX_DOWNLOAD_MB=0 all are.
func TestFault_V8_PrivateURLsAreRefusedByDefault(t *testing.T) {
	t.Parallel()
	url := sounds(t, 2, func(r *http.Request) { t.Errorf("%s was asked for", r.URL) })
	for _, limit := range []string{"1024", "0"} {
		t.Run("MAX_DOWNLOAD_MB="+limit, func(t *testing.T) {
			t.Parallel()
			p := start(t, options{env: with(local, "MAX_DOWNLOAD_MB", limit)})
			p.waitReady()
			if a := p.job(loads(url)); a.Output.Cause != "bad_input" {
				t.Errorf("the job ended as %+v", a)
			}
		})
	}
}

// A program that is killed in the middle of a download leaves nothing of it on
// disk.
func TestFault_V8_KilledDownloadsLeaveNothing(t *testing.T) {
	t.Parallel()
	halfway := make(chan struct{})
	url := sounds(t, 20_000_000, func(r *http.Request) {
		close(halfway)
		<-r.Context().Done()
	})
	p := start(t, options{env: with(local, "ALLOW_PRIVATE_URLS", "true")})
	p.waitReady()
	p.submit(loads(url))
	<-halfway
	p.killed()
	p.nothingDownloaded()
}

// nothingDownloaded fails the test if a file is left where downloads are kept.
func (p *program) nothingDownloaded() {
	p.t.Helper()
	left, err := os.ReadDir(filepath.Join(p.env["DATA_DIR"], "downloads"))
	if err != nil || len(left) > 0 {
		p.t.Errorf("downloads are left: %v, %v", left, err)
	}
}
