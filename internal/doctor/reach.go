package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Reach connects to the hosts of URLs, over TLS where they say so, and says
// nothing to them. The URLs may hold keys: no finding shows more than the host.
// Roots are the authorities to trust; nil means the system's.
func Reach(ctx context.Context, urls map[string]string, config *tls.Config) Finding {
	f := Finding{Verdict: OK}
	var failed []string
	tried := make(map[string]error)
	names := make([]string, 0, len(urls))
	for name := range urls {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		u, err := url.Parse(urls[name])
		if err != nil || u.Hostname() == "" {
			failed = append(failed, name)
			f.Details = append(f.Details, name+": its value is no URL")
			continue
		}
		host := u.Scheme + "://" + u.Host
		began := time.Now()
		err, known := tried[host]
		if !known {
			err = connect(ctx, u, config)
			tried[host] = err
		}
		switch {
		case err != nil:
			failed = append(failed, name)
			f.Details = append(f.Details, fmt.Sprintf("%s: %s: %v", name, host, err))
		case known:
			f.Details = append(f.Details, fmt.Sprintf("%s: %s, as above", name, host))
		default:
			f.Details = append(f.Details, fmt.Sprintf("%s: %s answers after %v", name, host, time.Since(began).Round(time.Millisecond)))
		}
	}
	if len(failed) > 0 {
		f.Verdict, f.Text = Fail, "cannot be reached: "+strings.Join(failed, ", ")
		f.Advice = "look at the pod's network, its DNS, and a firewall or proxy in between"
		return f
	}
	f.Text = fmt.Sprintf("%d hosts can be reached", len(tried))
	return f
}

// connect opens and closes a connection to where requests for u would go.
func connect(ctx context.Context, u *url.URL, config *tls.Config) error {
	to := u
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if proxy != nil { // what is behind it is the proxy's to reach
		to = proxy
	}
	port := to.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[to.Scheme]
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(to.Hostname(), port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if to.Scheme != "https" {
		return nil
	}
	c := config.Clone()
	if c == nil {
		c = new(tls.Config)
	}
	c.ServerName = to.Hostname()
	if err := tls.Client(conn, c).HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	return nil
}
