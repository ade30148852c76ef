package console

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestPageIsServedWithItsGuards(t *testing.T) {
	s := serve(t, nil)
	for name, kind := range map[string]string{"/": "text/html", "/console/main.js": "text/javascript", "/console/page.css": "text/css"} {
		resp, err := s.Client().Get(s.URL + name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), kind) {
			t.Errorf("%s: %s %s, want %s", name, resp.Status, h.Get("Content-Type"), kind)
		}
		if h.Get("Content-Security-Policy") != policy || h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", name, h)
		}
		r := httptest.NewRequest(http.MethodGet, name, nil)
		r.Header.Set("If-None-Match", h.Get("ETag"))
		again := httptest.NewRecorder()
		s.c.Handler().ServeHTTP(again, r)
		if again.Code != http.StatusNotModified {
			t.Errorf("%s again: %d, want 304", name, again.Code)
		}
	}
	for _, name := range []string{"/console/", "/console/missing.js", "/console/..%2Fdoc.go", "/index.html"} {
		rec := httptest.NewRecorder()
		s.c.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, name, nil))
		if rec.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", name, rec.Code)
		}
	}
}

// What the policy would refuse, and what could run text from elsewhere, is not
// in the page.
func TestPageKeepsToItsPolicy(t *testing.T) {
	foreign := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:`)
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<script>|\son[a-z]+=|\sstyle=|<style`)
	outside := regexp.MustCompile(`(?i)(src|href|url\(|from|import\()\s*=?\s*["']?(https?:)?//`)
	for name, p := range newPages() {
		text := string(p.content)
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s has %q", name, found)
		}
		if found := outside.FindString(text); found != "" {
			t.Errorf("%s reaches outside: %q", name, found)
		}
		if strings.HasSuffix(name, ".html") {
			if found := inline.FindString(text); found != "" {
				t.Errorf("%s has %q inline", name, found)
			}
		}
	}
}
