package fetch

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCheckRefuses(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"", "http://"},
		{"a.png", "http://"},
		{"//example.com/a", "http://"},
		{"file:///etc/passwd", "http://"},
		{"ftp://example.com/a", "http://"},
		{"gopher://example.com/", "http://"},
		{"data:image/png;base64,aGk=", "http://"},
		{"http:/a", "no host"},
		{"http:a", "no host"},
		{"https://:443/", "no host"},
		{"http://user@example.com/", "user name"},
		{"http://user:s3cr3t@example.com/", "user name"},
		{"http://user:s3/cr3t@example.com/", "no URL"},
		{"http://exa mple.com/", "no URL"},
		{"http://example.com/\n", "no URL"},
		{"http://example.com:22/", "port 22"},
		{"http://example.com:0443/", "port 0443"},
		{"http://10.0.0.1/", "not a public address"},
		{"http://[::1]/", "not a public address"},
		{"http://168.63.129.16/", "not a public address"},
		{"http://2130706433/", "number"},
		{"http://0x7f000001/", "number"},
		{"http://127.1/", "number"},
		{"http://a.example.0x10/", "number"},
		{"http://" + strings.Repeat("a", 9000), "at most"},
	}
	c := New(Config{})
	for _, tt := range tests {
		u, err := c.Check(tt.raw)
		switch {
		case err == nil:
			t.Errorf("%q was accepted as %v", tt.raw, u)
		case !strings.Contains(err.Error(), tt.want):
			t.Errorf("%q: %q lacks %q", tt.raw, err, tt.want)
		case strings.Contains(err.Error(), "cr3t"):
			t.Errorf("%q: the password is in the error: %v", tt.raw, err)
		}
	}
	var none *Client
	if _, err := none.Check("https://example.com/a.png"); err == nil || !strings.Contains(err.Error(), "MAX_DOWNLOAD_MB") {
		t.Errorf("without a client: %v", err)
	}
}

func TestCheckAccepts(t *testing.T) {
	c := New(Config{})
	for _, raw := range []string{
		"https://example.com/a.png", "http://example.com:80/a.png", "HTTPS://EXAMPLE.COM:443", "https://example.com./a",
		"https://bucket.s3.amazonaws.com/a%20b.png?X-Amz-Signature=00ff&X-Amz-Date=1#part", "https://8.8.8.8/", "https://[2606:4700::1111]/",
		"https://bücher.example/ä.png", "https://a-b_c.example/", "https://1.example/",
	} {
		if _, err := c.Check(raw); err != nil {
			t.Errorf("%s was refused: %v", raw, err)
		}
	}
	home := New(Config{AllowPrivate: true})
	for _, raw := range []string{"http://nas:9000/a.png", "http://192.168.1.2:8080/a", "http://[::1]:1/"} {
		if _, err := home.Check(raw); err != nil {
			t.Errorf("%s was refused at home: %v", raw, err)
		}
	}
}

// Whatever is accepted is an http URL without a password, of a port that is
// fetched from, and of no address that is not public; what is shown of it has
// neither query nor password.
func FuzzCheck(f *testing.F) {
	for _, host := range spellings {
		f.Add("http://" + host + "/a?b#c")
	}
	f.Add("https://user:word@example.com:443/?q")
	f.Add("http://example.com:80%2f@127.0.0.1/")
	f.Add("http:\\\\127.0.0.1\\")
	f.Add("http://example.com/a?b#" + strings.Repeat("\xa0", 3000))
	f.Add("http://example.com/" + strings.Repeat("\xa0", 3000))
	c := New(Config{})
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := c.Check(raw)
		if err != nil {
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Hostname() == "" {
			t.Errorf("%q was accepted", raw)
		}
		if p := u.Port(); p != "" && p != "80" && p != "443" {
			t.Errorf("%q: port %s was accepted", raw, p)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil && (addr.IsPrivate() || addr.IsLoopback() || !addr.IsGlobalUnicast()) {
			t.Errorf("%q: address %s was accepted", raw, addr)
		}
		if s := shown(u); strings.ContainsAny(s, "?#") && !strings.Contains(raw, "%") {
			t.Errorf("%q is shown as %s", raw, s)
		}
		if _, err := c.Check(u.String()); err != nil {
			t.Errorf("%q was accepted, but not as %s: %v", raw, u, err)
		}
	})
}
