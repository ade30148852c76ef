package fetch

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// spellings are ways to write an address that strangers must not reach.
var spellings = []string{
	// loopback
	"127.0.0.2", "127.0.0.2.", "127.1", "127.0.2", "2130706434", "0x7f000002", "0X7F.0.0.2", "0177.0.0.2",
	"0177.0.0.0002", "017700000002", "0x7f.0x0.0x0.0x2", "127.0.0.2.nip.io", "localhost", "localhost.", "LOCALHOST",
	"sub.localhost", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[::127.0.0.2]",
	"①②⑦.⓪.⓪.②", "１２７.0.0.2", "127。0。0。2",
	// unspecified, private, link-local, shared, reserved, multicast, metadata
	"0.0.0.0", "0", "[::]", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
	"[::ffff:169.254.169.254]", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1",
	"203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "metadata.google.internal",
	// the same through IPv6
	"[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]", "[64:ff9b::7f00:2]",
	"[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:7f00:2::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:2::]", "[2001:db8::1]", "[100::1]",
}

// A URL of an address that is not public is refused, however the address is
// written, and nothing is connected to.
func TestFault_X6_PrivateAddressesAreRefusedInEverySpelling(t *testing.T) {
	for _, host := range spellings {
		t.Run(host, func(t *testing.T) {
			c := New(Config{Dir: t.TempDir(), MaxBytes: 1 << 20})
			c.dialer.Resolver = resolver(always(private)) // as one that understands them all
			reached := passed(c)
			for _, raw := range []string{"http://" + host + "/a.png", "https://" + host + ":443/a.png"} {
				if body, err := get(c, raw); err == nil {
					t.Errorf("%s was fetched: %q", raw, body)
				}
			}
			if all := reached(); len(all) > 0 {
				t.Errorf("connections were made to %s", all)
			}
		})
	}
}

// The twin: what is public passes, and without the guard everything does.
func TestPublicAddressesPass(t *testing.T) {
	c := guarded(t, always(netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("2606:2800:21f:cb07:6820:80da:af6b:8b2c")))
	reached := passed(c)
	hosts := []string{"8.8.8.8", "[2606:4700::1111]", "example.com", "172.32.0.1", "100.128.0.1", "198.20.0.1"}
	for _, host := range hosts {
		before := len(reached())
		if _, err := get(c, "https://"+host+"/"); err == nil {
			t.Errorf("%s answered in a test", host)
		}
		if len(reached()) == before {
			t.Errorf("%s was refused", host)
		}
	}
	c.guard = nil
	reached = passed(c)
	_, _ = get(c, "http://10.0.0.1/")
	_, _ = get(c, "http://[::ffff:127.0.0.2]/")
	if all := reached(); len(all) != 2 {
		t.Errorf("without a guard %q passed, want two addresses", all)
	}
}

// A name that changes its address from one look-up to the next never leads to the
// one that is not public, in 1,000 tries.
func TestFault_X6_ChangingNamesReachNothing(t *testing.T) {
	port := serveAt(t, public, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") })
	connects, _ := trap(t, private, port)
	var asked atomic.Int64
	flip := func(_ string, v6 bool) []netip.Addr {
		if !v6 && asked.Add(1)%2 == 0 {
			return []netip.Addr{public}
		}
		return []netip.Addr{private}
	}
	c := guarded(t, flip)
	fetched := 0
	for range 1000 {
		if _, err := get(c, "http://a.example:"+port+"/"); err == nil {
			fetched++
		}
	}
	if n := connects.Load(); n != 0 {
		t.Errorf("%d connections to an address that is not public", n)
	}
	if fetched == 0 {
		t.Error("the public address was never reached, so the test shows nothing")
	}

	c.guard = nil // the twin: without the guard the trap is reached
	for range 10 {
		_, _ = get(c, "http://a.example:"+port+"/")
	}
	if connects.Load() == 0 {
		t.Error("without the guard nothing is reached either")
	}
}

// A redirect is judged as the URL itself is, whichever hop it is.
func TestFault_X6_RedirectsAreJudged(t *testing.T) {
	var to atomic.Value
	port := serveAt(t, public, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/hop":
			http.Redirect(w, r, "/last", http.StatusFound)
		default:
			w.Header().Set("Location", to.Load().(string))
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	connects, _ := trap(t, private, port)
	c := guarded(t, func(name string, _ bool) []netip.Addr {
		if strings.HasPrefix(name, "inside") {
			return []netip.Addr{private}
		}
		return []netip.Addr{public}
	})
	for _, target := range []string{
		"http://127.0.0.2:" + port + "/", "//127.0.0.2:" + port, "http://inside.example:" + port + "/",
		"http://[::ffff:127.0.0.2]:" + port, "http://user:word@inside.example:" + port + "/", "http://2130706434:" + port,
		"file:///etc/passwd", "gopher://inside.example/", "ftp://inside.example/", "data:text/plain,hello", "http:",
	} {
		to.Store(target)
		for _, path := range []string{"/", "/hop"} {
			e := fetchError(t, func() error { _, err := get(c, "http://a.example:"+port+path); return err }())
			if strings.Contains(e.Error(), "inside") || strings.Contains(e.Error(), "127.0.0.2") || strings.Contains(e.Error(), "word") {
				t.Errorf("redirect to %s: the error tells of it: %v", target, e)
			}
		}
	}
	if n := connects.Load(); n != 0 {
		t.Errorf("%d connections to an address that is not public", n)
	}
}

// Five redirects are followed and a sixth is not.
func TestFault_X6_RedirectsAreCounted(t *testing.T) {
	port := serveAt(t, public, func(w http.ResponseWriter, r *http.Request) {
		n := len(r.URL.Path) - 1
		if n == 0 {
			fmt.Fprint(w, "there")
			return
		}
		http.Redirect(w, r, r.URL.Path[:n], http.StatusMovedPermanently)
	})
	c := guarded(t, nil)
	if body, err := get(c, "http://127.0.0.1:"+port+"/12345"); err != nil || string(body) != "there" {
		t.Errorf("five redirects: %q, %v", body, err)
	}
	e := fetchError(t, func() error { _, err := get(c, "http://127.0.0.1:"+port+"/123456"); return err }())
	if !strings.Contains(e.Reason, "more than 5") || e.Retryable {
		t.Errorf("six redirects: %+v", e)
	}
}

// Whether an address is refused, closed or unknown cannot be told from the error;
// its cause, for the log, tells.
func TestFault_X6_ErrorsTellNothingOfTheInside(t *testing.T) {
	open := serveAt(t, private, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") })
	c := guarded(t, func(name string, _ bool) []netip.Addr {
		switch name {
		case "refused.example.":
			return []netip.Addr{private}
		case "closed.example.":
			return []netip.Addr{public}
		}
		return nil
	})
	tests := []struct{ host, cause string }{
		{"refused.example:" + open, "refused: prohibited IP address"},
		{"refused.example:1", "refused: prohibited IP address"},
		{"closed.example:1", "connection refused"},
		{"unknown.example:1", "no such host"},
	}
	for _, tt := range tests {
		_, err := get(c, "http://"+tt.host+"/a.png?signature=s3cr3t")
		e := fetchError(t, err)
		if want := c.unreachable(); e.Reason != want || !e.Retryable {
			t.Errorf("%s: %+v, want the reason %q", tt.host, e, want)
		}
		if e.URL != "http://"+tt.host+"/a.png" {
			t.Errorf("the URL is shown as %s", e.URL)
		}
		if !strings.Contains(e.Cause.Error(), tt.cause) || strings.Contains(e.Cause.Error(), "s3cr3t") {
			t.Errorf("%s: the log is told %q, want %q", tt.host, e.Cause, tt.cause)
		}
	}
}

// A proxy from the environment is not used: it would resolve names on its own.
func TestFault_T6_DownloadsUseNoProxy(t *testing.T) {
	proxied, proxy := trap(t, private, "0")
	t.Setenv("HTTP_PROXY", "http://"+proxy)
	t.Setenv("ALL_PROXY", "http://"+proxy)
	port := serveAt(t, public, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "direct") })
	c := guarded(t, always(public))
	if body, err := get(c, "http://a.example:"+port+"/"); err != nil || string(body) != "direct" {
		t.Errorf("got %q, %v", body, err)
	}
	if proxied.Load() != 0 {
		t.Error("the proxy was used")
	}
	c.transport.Proxy, c.guard = http.ProxyURL(mustParse(t, "http://"+proxy)), nil // the twin
	_, _ = get(c, "http://a.example:"+port+"/")
	if proxied.Load() == 0 {
		t.Error("a client with a proxy does not use it either, so the test shows nothing")
	}
}
