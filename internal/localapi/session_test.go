package localapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const token = "s3cret-token-s3cret"

// logIn returns the cookie as a browser would send it.
func (a *api) logIn() string {
	a.t.Helper()
	h := a.want(http.StatusNoContent, "POST", "/login", `{"token":"`+token+`"}`).header.Get("Set-Cookie")
	for _, word := range []string{"; HttpOnly", "; SameSite=Strict", "; Path=/"} {
		if !strings.Contains(h, word) {
			a.t.Errorf("Set-Cookie: %s lacks %q", h, word)
		}
	}
	if strings.Contains(h, token) {
		a.t.Errorf("the cookie tells the token: %s", h)
	}
	pair, _, _ := strings.Cut(h, ";")
	return pair
}

func TestCookieStandsForTheToken(t *testing.T) {
	a := serve(t, Config{Token: token})
	a.want(http.StatusUnauthorized, "POST", "/login", `{"token":"wrong"}`)
	a.want(http.StatusUnauthorized, "POST", "/login", `{}`)
	a.want(http.StatusBadRequest, "POST", "/login", `{`)
	cookie := a.logIn()
	host := strings.TrimPrefix(a.url, "http://")
	tests := []struct {
		name, method string
		header       []string
		want         int
	}{
		{"page of ours", "GET", []string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		{"typed by a person", "GET", []string{"Sec-Fetch-Site", "none"}, http.StatusOK},
		{"browser that does not tell, reading", "GET", nil, http.StatusOK},
		{"other port of this machine", "GET", []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{"other site", "GET", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"page of ours, changing", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://" + host}, http.StatusOK},
		{"browser that does not tell, changing", "POST", []string{"Origin", "http://" + host}, http.StatusOK},
		{"changing without an origin", "POST", nil, http.StatusForbidden},
		{"other port, changing", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"}, http.StatusForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := map[string]string{"GET": "/health", "POST": "/purge-queue"}[tt.method]
			a.want(tt.want, tt.method, path, "", append([]string{"Cookie", cookie}, tt.header...)...)
		})
	}
	a.want(http.StatusUnauthorized, "GET", "/health", "", "Cookie", cookie+"x")
	name, _, _ := strings.Cut(cookie, "=")
	a.want(http.StatusUnauthorized, "GET", "/health", "", "Cookie", name+"=")
	a.want(http.StatusUnauthorized, "GET", "/health", "", "Cookie", name+"="+token)
	if h := a.want(http.StatusNoContent, "POST", "/logout", "").header.Get("Set-Cookie"); !strings.Contains(h, "Max-Age=0") {
		t.Errorf("logout sets %s", h)
	}
	other := serve(t, Config{Token: token + "2"})
	other.want(http.StatusUnauthorized, "GET", "/health", "", "Cookie", strings.Replace(cookie, name, cookieName(&http.Request{Host: strings.TrimPrefix(other.url, "http://")}), 1))
}

// Without the token there is the page as it was built, and nothing else.
func TestPageIsForEverybodyAndItsDataIsNot(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.URL.Path) })
	a := serve(t, Config{Token: token, Page: page})
	for _, path := range []string{"/", "/console/", "/console/app.js"} {
		if got := a.want(http.StatusOK, "GET", path, ""); string(got.body) != "page "+path {
			t.Errorf("GET %s = %s", path, got.body)
		}
		a.want(http.StatusForbidden, "GET", path, "", "Host", "evil.test", "Origin", "http://other.test")
	}
	for _, path := range []string{"/console/events", "/console/x/events", "/console/css/a.css", "/jobs", "/jobs/x.js", "/x.js", "/health", "/v2/x/health", "/console/../jobs"} {
		a.want(http.StatusUnauthorized, "GET", path, "")
	}
	a.want(http.StatusUnauthorized, "POST", "/console/app.js", "")
	a.want(http.StatusOK, "GET", "/console/events", "", "Cookie", a.logIn())
	none := serve(t, Config{Token: token})
	none.want(http.StatusUnauthorized, "GET", "/", "")
}

func TestLoginWithoutATokenNeedsNone(t *testing.T) {
	a := serve(t, Config{})
	if h := a.want(http.StatusNoContent, "POST", "/login", `{"token":"x"}`).header.Get("Set-Cookie"); h != "" {
		t.Errorf("sets %s", h)
	}
}

func TestRestartAsksWithAndWithoutForce(t *testing.T) {
	var asked []bool
	a := serve(t, Config{Restart: func(force bool) (string, error) {
		asked = append(asked, force)
		return "soon", nil
	}})
	for body, want := range map[string]string{
		``: `{"status":"restarting","force":false,"message":"soon"}`, `{"force":true}`: `{"status":"restarting","force":true,"message":"soon"}`,
	} {
		if got := a.want(http.StatusAccepted, "POST", "/restart", body); string(got.body) != want {
			t.Errorf("POST /restart %s = %s, want %s", body, got.body, want)
		}
	}
	a.want(http.StatusBadRequest, "POST", "/restart", `{"force":"yes"}`)
	a.want(http.StatusMethodNotAllowed, "GET", "/restart", "")
	if len(asked) != 2 {
		t.Errorf("asked %d times, want 2", len(asked))
	}
	serve(t, Config{}).want(http.StatusNotFound, "POST", "/restart", "")
}
