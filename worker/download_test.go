package worker

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// Files come from URLs as well as with the job, under the names that the job
// gives them or those of the URLs, and ComfyUI reads the very same bytes.
func TestFault_V8_FilesComeFromURLs(t *testing.T) {
	both(t, func(t *testing.T, sim comfytest.Config) {
		url, _ := web(t, map[string]string{"/dir/a.wav": "the bytes", "/else": "the bytes"})
		p := startPod(t, sim, downloads(t.TempDir()))
		plain := p.do("plain", soundJob(`{"name":"a.wav","data":"`+base64.StdEncoding.EncodeToString([]byte("the bytes"))+`"}`))
		plain.wantOutput(t, 1)
		for i, file := range []string{
			`{"url":"` + url + `/dir/a.wav?signature=1"}`, `{"name":"a.wav","url":"` + url + `/else"}`,
		} {
			d := p.do(fmt.Sprint("url", i), soundJob(file))
			d.wantOutput(t, 1)
			if d.hashes[0] != plain.hashes[0] {
				t.Errorf("%s: ComfyUI was given other bytes", file)
			}
		}
	})
}

// A URL that cannot be had fails the job alone, says which and why without its
// secrets, and whether another try makes sense; ComfyUI is not asked.
func TestFault_V8_DownloadFailuresAreTold(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			fmt.Fprint(w, "<!DOCTYPE html><html><title>Sign in</title></html>")
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/large":
			_, _ = w.Write(make([]byte, 2e6))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	p := startPod(t, comfytest.Config{}, downloads(t.TempDir()))
	tests := []struct {
		path, cause, want string
		again             bool
	}{
		{"/gone", CauseDownload, "404 Not Found", false},
		{"/busy", CauseDownload, "503 Service Unavailable", true},
		{"/large", CauseDownload, "MAX_DOWNLOAD_MB", false},
		{"/page", CauseBadInput, "web page", false},
	}
	for _, tt := range tests {
		d := p.do(tt.path, soundJob(`{"name":"a.wav","url":"`+s.URL+tt.path+`?signature=s3cr3t"}`))
		d.wantCause(t, tt.cause)
		if d.Failure.Kind != KindInput || d.Failure.Retryable != tt.again || !strings.Contains(d.Failure.Message, tt.want) {
			t.Errorf("%s: %+v", tt.path, d.Failure)
		}
		if strings.Contains(d.Failure.Message, "s3cr3t") {
			t.Errorf("%s: the secret is in the message: %s", tt.path, d.Failure.Message)
		}
	}
	p.untouched()
	p.do("page", `{"files":[{"name":"a.html","url":"`+s.URL+`/page"}],`+picture(1)[1:]).wantOutput(t, 1)
	p.do("next", picture(2)).wantOutput(t, 1)
}

// By default a job cannot make the worker ask ComfyUI, or anybody else who is not
// public: neither by an address nor by a name.
func TestFault_V8_PrivateURLsAreRefused(t *testing.T) {
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(s.Close)
	port := netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
	p := startPod(t, comfytest.Config{}, func(c *Config) { c.Fetch = fetch.New(fetch.Config{Dir: t.TempDir(), MaxBytes: 1e6}) })
	for url, cause := range map[string]string{
		s.URL + "/a.wav":                            CauseBadInput,
		p.comfy.URL + "/history":                    CauseBadInput,
		"http://169.254.169.254/latest":             CauseBadInput,
		fmt.Sprintf("http://localhost:%d/a", port):  CauseBadInput, // the port
		"http://localhost/a.wav":                    CauseDownload,
		"file:///etc/passwd":                        CauseBadInput,
		"http://127.0.0.1/a.wav#@example.com/a.wav": CauseBadInput,
	} {
		p.do(url, soundJob(`{"name":"a.wav","url":"`+url+`"}`)).wantCause(t, cause)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
	p.untouched()
}

// A job that is run again after the death of ComfyUI does not download again, and
// a job that is canceled stops downloading.
func TestDownloadsBelongToTheJob(t *testing.T) {
	url, requests := web(t, map[string]string{"/a.wav": "x"})
	p := startPod(t, comfytest.Config{}, downloads(t.TempDir()))
	d := p.do("poison", strings.Replace(die("sigkill"), "{", `{"files":[{"url":"`+url+`/a.wav"}],`, 1))
	d.wantCause(t, CauseCrashed)
	if n := requests.Load(); d.Failure.Attempts != 2 || n != 1 {
		t.Errorf("%d attempts and %d downloads, want 2 and 1", d.Failure.Attempts, n)
	}

	begun := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	canceled := make(chan struct{})
	p.source.submit(job.Job{ID: "slow", Taken: time.Now(), Canceled: canceled, Input: json.RawMessage(soundJob(`{"url":"` + slow.URL + `/a.wav"}`))})
	<-begun
	close(canceled)
	p.source.wait(t, "slow").wantCause(t, CauseCanceled)
}
