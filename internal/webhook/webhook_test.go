package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const document = `{"id":"a","status":"COMPLETED"}`

func body() *payload.Body {
	return payload.Raw(job.Content{Size: int64(len(document)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(document)), nil
	}})
}

// receiver is a server that gets webhooks.
func receiver(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/hook?key=canary"
}

func TestSignatureIsThatOfTimestampAndBody(t *testing.T) {
	const secret = "a secret of some length"
	for _, secret := range []string{"", secret} {
		url := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != document || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s, body %s, %v", r.Method, r.Header, got, err)
			}
			told, signature := r.Header.Get(timestampHeader), r.Header.Get(signatureHeader)
			if secret == "" {
				if told != "" || signature != "" {
					t.Errorf("signed without a secret: %v", r.Header)
				}
				return
			}
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(told + "." + string(got)))
			if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); signature != want {
				t.Errorf("signature = %s, want %s", signature, want)
			}
			at, err := strconv.ParseInt(told, 10, 64)
			if age := time.Since(time.Unix(at, 0)); err != nil || age < -time.Minute || age > time.Minute {
				t.Errorf("timestamp = %s, %v", told, err)
			}
		})
		if err := New(Config{Secret: secret, AllowPrivate: true}).Post(t.Context(), url, body()); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatTheReceiverAnswers(t *testing.T) {
	for code, fine := range map[int]bool{200: true, 204: true, 302: false, 404: false, 500: false} {
		asked := 0
		url := receiver(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
		})
		err := New(Config{AllowPrivate: true}).Post(t.Context(), url, body())
		if (err == nil) != fine || asked != 1 {
			t.Errorf("answer %d: %v after %d requests", code, err, asked)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("error tells the query: %v", err)
		}
	}
}

// A webhook that nobody answers is given up, and the error does not tell the URL.
func TestSilentReceiverIsGivenUp(t *testing.T) {
	end := make(chan struct{})
	url := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-end
	})
	defer close(end)
	err := New(Config{AllowPrivate: true, Limit: 50 * time.Millisecond}).Post(t.Context(), url, body())
	if err == nil || !strings.Contains(err.Error(), "no answer within 50ms") || strings.Contains(err.Error(), "canary") {
		t.Errorf("Post = %v", err)
	}
}

// TestFault_X6_WebhooksReachNothingInside: a webhook goes to no private address,
// as little as a download does.
func TestFault_X6_WebhooksReachNothingInside(t *testing.T) {
	asked := false
	url := receiver(t, func(http.ResponseWriter, *http.Request) { asked = true })
	s := New(Config{})
	_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	port, _, _ = strings.Cut(port, "/")
	for _, raw := range []string{url, "http://localhost:" + port, "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest", "file:///etc/passwd", "ftp://x.test"} {
		if err := s.Post(t.Context(), raw, body()); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("Post to %s = %v, want a refusal", raw, err)
		}
	}
	const name = "http://localhost/" // passes as text, and is judged by where it leads
	if err := s.Check(name); err != nil {
		t.Errorf("Check(%s) = %v", name, err)
	}
	if err := s.Post(t.Context(), name, body()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Post to %s = %v, want a refusal", name, err)
	}
	if asked {
		t.Error("the server inside was asked")
	}
}
