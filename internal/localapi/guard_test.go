package localapi

import (
	"net/http"
	"strings"
	"testing"
)

func TestTokenIsNeededForEveryRequest(t *testing.T) {
	a := serve(t, Config{Token: "s3cret-token"})
	tests := []struct {
		name, authorization string
		want                int
	}{
		{"bearer", "Bearer s3cret-token", http.StatusOK},
		{"bearer in other letters", "bEARER s3cret-token", http.StatusOK},
		{"raw, as RunPod's worker sends it", "s3cret-token", http.StatusOK},
		{"none", "", http.StatusUnauthorized},
		{"wrong", "Bearer s3cret-tokem", http.StatusUnauthorized},
		{"part", "Bearer s3cret", http.StatusUnauthorized},
		{"other scheme", "Basic s3cret-token", http.StatusUnauthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/health", "/ping", "/v2/x/health"} {
				got := a.want(tt.want, "GET", path, "", "Authorization", tt.authorization)
				if tt.want == http.StatusUnauthorized && string(got.body) != `{"error":"unauthorized"}` {
					t.Errorf("answer tells more than it should: %s", got.body)
				}
			}
		})
	}
	a.want(http.StatusUnauthorized, "POST", "/run", someJob)
	if n := a.store.count().InQueue; n != 0 {
		t.Errorf("%d jobs queued without a token", n)
	}
}

// A load balancer is answered at its path and nowhere else.
func TestHealthPathNeedsNoToken(t *testing.T) {
	a := serve(t, Config{Token: "s3cret-token", HealthPath: "/lb"})
	a.want(http.StatusOK, "GET", "/lb", "")
	for _, path := range []string{"/ping", "/health", "/lb/", "/v2/x/lb"} {
		a.want(http.StatusUnauthorized, "GET", path, "")
	}
	a.want(http.StatusUnauthorized, "POST", "/lb", someJob)
}

// TestFault_A7_OtherWebSitesAreKeptOut: a name that is not ours, a foreign
// origin and a body that a plain form could send are refused, and no
// cross-origin header is ever sent.
func TestFault_A7_OtherWebSitesAreKeptOut(t *testing.T) {
	const (
		json = "application/json"
		form = "application/x-www-form-urlencoded"
	)
	tests := []struct {
		name   string
		header []string
		want   int
	}{
		{"plain client", []string{"Content-Type", json}, http.StatusOK},
		{"JSON with charset", []string{"Content-Type", json + "; charset=utf-8"}, http.StatusOK},
		{"no type", nil, http.StatusOK},
		{"curl -d", []string{"Content-Type", form}, http.StatusOK},
		{"localhost", []string{"Host", "localhost:8000"}, http.StatusOK},
		{"IPv6 loopback", []string{"Host", "[::1]:8000"}, http.StatusOK},
		{"our own page", []string{"Host", "localhost:8000", "Origin", "http://localhost:8000", "Content-Type", json}, http.StatusOK},
		{"listed name", []string{"Host", "gpu.test:8000"}, http.StatusOK},

		{"rebound name", []string{"Host", "evil.test"}, http.StatusForbidden},
		{"rebound name with its origin", []string{"Host", "evil.test", "Origin", "http://evil.test"}, http.StatusForbidden},
		{"name that begins like ours", []string{"Host", "localhost.evil.test"}, http.StatusForbidden},
		{"foreign origin", []string{"Origin", "http://evil.test", "Content-Type", json}, http.StatusForbidden},
		{"other port of this machine", []string{"Host", "localhost:8000", "Origin", "http://localhost:3000"}, http.StatusForbidden},
		{"opaque origin", []string{"Origin", "null"}, http.StatusForbidden},
		{"foreign site without an origin", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},

		{"text", []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
		{"form with files", []string{"Content-Type", "multipart/form-data; boundary=x"}, http.StatusUnsupportedMediaType},
		{"form from our own page", []string{"Host", "localhost", "Origin", "http://localhost", "Content-Type", form}, http.StatusUnsupportedMediaType},
	}
	a := serve(t, Config{Hosts: []string{"GPU.test"}, MaxQueue: len(tests)})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := a.store.count().InQueue
			got := a.want(tt.want, "POST", "/run", someJob, tt.header...)
			if queued := a.store.count().InQueue - before; (queued == 1) != (tt.want == http.StatusOK) {
				t.Errorf("queued %d jobs", queued)
			}
			for name := range got.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("answer has %s", name)
				}
			}
		})
	}
	t.Run("reading", func(t *testing.T) {
		a.want(http.StatusForbidden, "GET", "/health", "", "Origin", "http://evil.test")
		a.want(http.StatusForbidden, "GET", "/health", "", "Host", "evil.test")
	})
}

// On all addresses a server without a token is called by names that no stranger
// can have made point to it. With a token any name does.
func TestNamesOfAServerOnAllAddresses(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		host string
		want int
	}{
		{"address", Config{}, "192.168.1.7:8000", http.StatusOK},
		{"service of compose", Config{}, "comfy:8000", http.StatusOK},
		{"name of the local network", Config{}, "gpu.local", http.StatusOK},
		{"RunPod's proxy", Config{}, "abc-8000.proxy.runpod.net", http.StatusOK},
		{"a stranger's name", Config{}, "evil.test:8000", http.StatusForbidden},
		{"name that ends like ours", Config{}, "evilproxy.runpod.net", http.StatusForbidden},
		{"listed name", Config{Hosts: []string{"gpu.test"}}, "gpu.test", http.StatusOK},
		{"a list without it", Config{Hosts: []string{"gpu.test"}}, "comfy", http.StatusForbidden},
		{"a token, any name", Config{Token: "s3cret-token"}, "gpu.example.test", http.StatusOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Listen("0.0.0.0:0")
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := strings.Cut(l.Addr().String(), "]:")
			a := start(t, tt.cfg, l, "http://127.0.0.1:"+port, &http.Transport{})
			a.want(tt.want, "GET", "/health", "", "Host", tt.host, "Authorization", tt.cfg.Token)
		})
	}
}
