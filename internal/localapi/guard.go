package localapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

var (
	errUnauthorized = errors.New("unauthorized")
	errForeign      = errors.New("refused: the request comes from another web site")
	errMediaType    = errors.New("send the body as plain JSON, with Content-Type: application/json")
)

// guard lets a request through to next when it comes from whom it should and
// its body is of a kind that next reads.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, check := range []func(*http.Request) error{s.checkHost, checkOrigin, s.checkToken, checkBody} {
			if err := check(r); err != nil {
				s.refuse(w, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// checkHost keeps out pages whose name was made to point at this machine. With a
// token there is no need to: such a page has neither it nor the cookie.
func (s *Server) checkHost(r *http.Request) error {
	name := hostname(r.Host)
	switch {
	case isLoopback(name), slices.ContainsFunc(s.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, name) }):
		return nil
	case len(s.cfg.Hosts) == 0 && !s.onLoopback() && (s.cfg.Token != "" || isLocalName(name)):
		return nil
	}
	return fmt.Errorf("%w: host %q is not a name of this server; API_HOSTS lists its names", errForeign, name)
}

// isLocalName tells whether a name cannot be one that a stranger has made point
// here: an address, a name without a dot, as Docker gives them, or one of those
// that the public DNS does not have. RunPod's proxy names pods itself.
func isLocalName(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil || !strings.Contains(name, ".") {
		return true
	}
	return slices.ContainsFunc([]string{".local", ".internal", ".lan", ".home.arpa", ".localhost", ".proxy.runpod.net"},
		func(end string) bool { return strings.HasSuffix(name, end) })
}

// onLoopback tells whether only this machine can reach the server.
func (s *Server) onLoopback() bool {
	addr, ok := s.conns.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func isLoopback(name string) bool {
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback() || strings.EqualFold(name, "localhost")
}

// checkOrigin refuses what a browser sends for a page of another site: every
// request that names its origin, those that only read included, and those that
// change something even when only Sec-Fetch-Site gives them away.
func checkOrigin(r *http.Request) error {
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
			return errForeign
		}
	}
	if http.NewCrossOriginProtection().Check(r) != nil {
		return errForeign
	}
	return nil
}

// checkToken lets through who has the token, or the cookie that stands for it.
func (s *Server) checkToken(r *http.Request) error {
	if s.cfg.Token == "" || s.anybody(r) {
		return nil
	}
	given := r.Header.Get("Authorization")
	if scheme, rest, found := strings.Cut(given, " "); found && strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimSpace(rest)
	}
	if s.isToken(given) {
		return nil
	}
	in, err := s.loggedIn(r)
	if err == nil && !in {
		err = errUnauthorized
	}
	return err
}

// anybody tells whether the request is for what needs no token, because it has
// nothing of this pod in it: the page as it was built, its files, the description
// of the routes, and the way to log in.
func (s *Server) anybody(r *http.Request) bool {
	switch {
	case r.URL.Path == "/login" || r.URL.Path == "/logout":
		return true
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return false
	}
	dir, name := path.Split(r.URL.Path)
	if dir == docFiles || slices.Contains(docPaths, r.URL.Path) {
		return true
	}
	return s.cfg.Page != nil && (r.URL.Path == "/" || dir == pageFiles && (name == "" || path.Ext(name) != ""))
}

func (s *Server) isToken(given string) bool {
	sum := digest(given)
	return subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1
}

// digest makes texts of any length comparable in the same time.
func digest(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// checkBody refuses what is not JSON as it stands. The one exception is the
// type that curl -d claims; a browser could send it for another site, so it
// passes only without an Origin.
func checkBody(r *http.Request) error {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return fmt.Errorf("%w: Content-Encoding %q is not read", errMediaType, enc)
	}
	claimed := r.Header.Get("Content-Type")
	if r.Method != http.MethodPost || claimed == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(claimed)
	switch {
	case err == nil && kind == "application/json":
		return nil
	case err == nil && kind == "application/x-www-form-urlencoded" && r.Header.Get("Origin") == "":
		return nil
	}
	return fmt.Errorf("%w: Content-Type %q is not read", errMediaType, claimed)
}
