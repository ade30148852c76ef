package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// maxURLBytes is beyond the longest presigned URLs, which have some 2 KB.
const maxURLBytes = 8 << 10

// Check parses a URL and returns what is wrong with it, as far as its text
// tells. The error never has the URL in it. Nothing is resolved or asked. A nil
// Client takes no URL.
func (c *Client) Check(raw string) (*url.URL, error) {
	if c == nil {
		return nil, errors.New("URLs are not taken here (MAX_DOWNLOAD_MB=0)")
	}
	if len(raw) > maxURLBytes {
		return nil, fmt.Errorf("the URL has %d characters: at most %d are taken", len(raw), maxURLBytes)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil: // not shown: it has parts of the URL in it, a password perhaps
		return nil, errors.New("the text is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the URL does not begin with http:// or https://")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("the URL names no host")
	case u.User != nil:
		return nil, errors.New("the URL has a user name or a password in it: use a signed URL instead")
	case c.ports != nil && u.Port() != "" && !slices.Contains(c.ports, u.Port()):
		return nil, fmt.Errorf("port %s is not fetched from: only 80 and 443 are", u.Port())
	}
	u.Fragment, u.RawFragment = "", "" // nobody is sent it
	if sent := len(u.String()); sent > maxURLBytes {
		return nil, fmt.Errorf("the URL has %d characters when it is sent: at most %d are taken", sent, maxURLBytes)
	}
	return u, c.checkHost(u.Hostname())
}

// checkHost looks at a host that is an address, or looks like one. What numbers
// such as 2130706433 or 0x7f.1 mean differs from one resolver to the next, so
// they mean nothing here.
func (c *Client) checkHost(host string) error {
	host = strings.TrimSuffix(host, ".")
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && c.guard != nil && (addr.Zone() != "" || c.guard.SafeAddr(addr) != nil):
		return fmt.Errorf("%s is not a public address (ALLOW_PRIVATE_URLS=true takes others too)", addr)
	case err == nil:
		return nil
	case endsInNumber(host):
		return errors.New("the host is a number: write the address as four numbers with dots, or a name")
	}
	return nil
}

// endsInNumber tells whether the last part of a host is a number, which no
// top-level domain is.
func endsInNumber(host string) bool {
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	digits := "0123456789"
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		last, digits = hex, digits+"abcdef"
	}
	return strings.Trim(last, digits) == ""
}

// shown is a URL as errors show it: the secrets of signed URLs are in the query.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
