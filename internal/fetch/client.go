package fetch

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
	"golang.org/x/sync/errgroup"
)

const (
	parallel  = 4 // downloads of one call
	redirects = 5

	dialLimit = 10 * time.Second
	maxHeader = 64 << 10
)

// Config says how much is downloaded and where to. Durations that are 0 take the
// defaults named here.
type Config struct {
	// Dir is where files are kept while they are in use.
	Dir string
	// MaxBytes is how many bytes the files of one call may have in all.
	MaxBytes int64
	// AllowPrivate takes URLs of any address and any port.
	AllowPrivate bool
	// Idle is the longest wait for the next byte; 30 s.
	Idle time.Duration
	// Limit is the longest download; 10 min.
	Limit time.Duration
}

// A Client downloads files. Its methods may be called from several goroutines.
type Client struct {
	cfg       Config
	guard     *ssrf.Guardian // nil lets every address pass
	ports     []string       // nil lets every port pass
	dialer    *net.Dialer
	transport *http.Transport
}

// azureHost is where Azure's host answers its guests: a public address in name
// alone, and on no list of special ones.
var azureHost = netip.MustParsePrefix("168.63.129.16/32")

// New returns a Client.
func New(cfg Config) *Client {
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Limit == 0 {
		cfg.Limit = 10 * time.Minute
	}
	c := &Client{cfg: cfg}
	if !cfg.AllowPrivate {
		c.guard = ssrf.New(ssrf.WithDeniedV4Prefixes(azureHost))
		c.ports = []string{"80", "443"}
	}
	c.dialer = &net.Dialer{Timeout: dialLimit, ControlContext: c.Control}
	c.transport = &http.Transport{
		DialContext:            c.dialer.DialContext,
		DisableCompression:     true, // a few bytes of gzip unpack to gigabytes
		DisableKeepAlives:      true, // each request is judged by its own connection
		MaxResponseHeaderBytes: maxHeader,
	}
	return c
}

// Control judges the address that is about to be connected to, as the
// ControlContext of a net.Dialer. Others who follow what strangers wrote may use
// it for connections of their own.
func (c *Client) Control(_ context.Context, network, address string, conn syscall.RawConn) error {
	if c.guard == nil {
		return nil
	}
	if err := c.guard.Safe(network, address, conn); err != nil {
		return &refusedError{err}
	}
	return nil
}

// All downloads URLs that have passed Check and returns their files in the same
// order, to be closed by the caller. When one cannot be had the others are given
// up and none is returned. The error is an *Error where it is about a URL; any
// other is about this pod.
func (c *Client) All(ctx context.Context, urls []*url.URL) ([]*File, error) {
	files := make([]*File, len(urls))
	var left atomic.Int64
	left.Store(c.cfg.MaxBytes)
	group, inside := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, u := range urls {
		group.Go(func() (err error) {
			files[i], err = c.one(inside, u, &left)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		CloseAll(files)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return files, nil
}

// Transport is how the client reaches the addresses that it takes, for other
// requests than downloads.
func (c *Client) Transport() http.RoundTripper { return c.transport }
