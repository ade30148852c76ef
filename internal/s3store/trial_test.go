package s3store

import (
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// A trial at a real store leaves nothing behind, and tells which step did not
// work.
func TestTryAtARealStore(t *testing.T) {
	t.Parallel()
	gw := s3test.Start(t)
	tests := []struct {
		name                  string
		change                func(*Config)
		stored, read, removed string // words of the errors, "" for none
	}{
		{name: "path", change: func(*Config) {}},
		{name: "virtual host", change: func(c *Config) {
			c.EndpointURL, c.BucketName, c.PathStyle = gw.VirtualEndpoint(), gw.Bucket, "virtual"
		}},
		{name: "a bucket that nobody can read", change: func(c *Config) { c.PublicURL = gw.Endpoint() }, read: "403 Forbidden"},
		{name: "wrong secret", change: func(c *Config) { c.SecretAccessKey = testSecret }, stored: "SignatureDoesNotMatch"},
		{name: "no bucket", change: func(c *Config) { c.EndpointURL = "http://" + gw.Addr + "/nowhere" }, stored: "there is no such bucket"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := gatewayStore(t, gw, gw.Addr, tt.change).Try(t.Context(), "trial-1")
			for _, step := range []struct {
				name, want string
				err        error
			}{{"stored", tt.stored, got.Stored}, {"read", tt.read, got.Read}, {"removed", tt.removed, got.Removed}} {
				switch {
				case step.want == "" && step.err != nil, step.want != "" && (step.err == nil || !strings.Contains(step.err.Error(), step.want)):
					t.Errorf("%s: %v, want %q", step.name, step.err, step.want)
				case step.err != nil && (hasSecret(step.err.Error()) || strings.Contains(step.err.Error(), "X-Amz-")):
					t.Errorf("%s: the error shows what it must not: %v", step.name, step.err)
				}
			}
		})
	}
	err := filepath.WalkDir(gw.Path("."), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			t.Errorf("%s is left behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Where links cannot be signed the object is read with the keys; one that cannot
// be removed, or is another, is told.
func TestTryTellsEachStep(t *testing.T) {
	fake, dial := newFake(t)
	var refused string
	fake.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != refused {
			return false
		}
		refuse(w, http.StatusForbidden, "AccessDenied")
		return true
	}
	s, _ := testStore(t, dial)
	at := *s.at.Load()
	at.links = false
	s.at.Store(&at)
	for _, method := range []string{"", http.MethodPut, http.MethodGet, http.MethodDelete} {
		refused = method
		got := s.Try(t.Context(), "trial-1")
		for step, err := range map[string]error{http.MethodPut: got.Stored, http.MethodGet: got.Read, http.MethodDelete: got.Removed} {
			if (err != nil) != (step == method) {
				t.Errorf("with %q refused, %s: %v", method, step, err)
			}
		}
	}
	if err := same(strings.NewReader("something else")); err == nil {
		t.Error("another object passes for the one that was stored")
	}
}
