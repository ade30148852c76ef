package localapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"
)

// cookieLife is how long a browser stays logged in.
const cookieLife = 30 * 24 * time.Hour

// login gives a browser that sends the token a cookie that stands for it, so
// that pictures and event streams, whose requests a page cannot give a header,
// come with it, too.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var sent struct {
		Token string `json:"token"`
	}
	if err := s.readInto(r, &sent); err != nil {
		s.refuse(w, err)
		return
	}
	if s.cfg.Token != "" {
		if !s.isToken(sent.Token) {
			s.refuse(w, errUnauthorized)
			return
		}
		http.SetCookie(w, s.cookie(r, s.session, int(cookieLife.Seconds())))
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, s.cookie(r, "", -1))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// cookie is ours alone: no script reads it, and no other site's page can have it
// sent. Cookies do not know ports, so its name does.
func (s *Server) cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
}

func cookieName(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		return "comfyvisor-" + port
	}
	return "comfyvisor"
}

// sessionOf is the value of the cookie: it proves the token and does not tell it.
// A new token makes it worthless.
func sessionOf(token string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("comfyvisor browser session"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// loggedIn tells whether the request has the cookie. The error is errForeign when
// the request is not from our own page: another port of this machine counts as
// the same site, and its pages get the cookie sent.
func (s *Server) loggedIn(r *http.Request) (bool, error) {
	c, err := r.Cookie(cookieName(r))
	if errors.Is(err, http.ErrNoCookie) || !hmac.Equal([]byte(c.Value), []byte(s.session)) {
		return false, nil
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true, nil
	case "":
		// Over plain HTTP to another machine browsers do not send it. What changes
		// something comes with an Origin then, which has been compared.
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Header.Get("Origin") != "" {
			return true, nil
		}
	}
	return false, errForeign
}
