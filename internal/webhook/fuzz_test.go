package webhook

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// A webhook that is accepted leads to a public server, and what is said of one
// that is not shows nothing of its path and query, where secrets are.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/hook?token=", "http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://0x7f.1/", "https://u:p@example.com/",
		"https://example.com:8443/", "gopher://example.com/", "//example.com", "", "https://", "https://example.com/\x00", "https://exa\xffmple.com/",
	} {
		f.Add(seed)
	}
	s := New(Config{})
	f.Fuzz(func(t *testing.T, text string) {
		const mark = "canary-7c1e5f0b"
		raw := text + "/" + mark
		if err := s.Check(raw); err != nil {
			if at := strings.Index(text, "://"); at > 0 && strings.Contains(text[at+3:], "/") && strings.Contains(err.Error(), mark) {
				t.Errorf("the error shows the path: %v", err)
			}
			return
		}
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			t.Fatalf("%q was accepted: %v", raw, err)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && (!addr.IsGlobalUnicast() || addr.IsPrivate()) {
			t.Errorf("%q was accepted", raw)
		}
	})
}
