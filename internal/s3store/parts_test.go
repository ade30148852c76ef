package s3store

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// However an upload in parts ends, nothing of it is left in the store unless it
// succeeded.
func TestFault_S5_PartsAreRemoved(t *testing.T) {
	part := func(number string, f fault) fault {
		return func(n int, w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == number && f(n, w, r)
		}
	}
	on := func(method, query string, f fault) fault {
		return func(n int, w http.ResponseWriter, r *http.Request) bool {
			return r.Method == method && r.URL.Query().Has(query) && f(n, w, r)
		}
	}
	tests := []struct {
		name    string
		fault   func(cancel context.CancelFunc) fault
		shrink  bool
		wantErr error // nil: an *Error
		success bool
	}{
		{name: "a part is refused", fault: func(context.CancelFunc) fault { return part("3", always(403, "AccessDenied")) }},
		{name: "a part never gets through", fault: func(context.CancelFunc) fault { return part("2", always(503, "SlowDown")) }},
		{name: "a part breaks once", success: true, fault: func(context.CancelFunc) fault {
			broken := false
			return part("2", func(n int, w http.ResponseWriter, r *http.Request) bool {
				if broken {
					return false
				}
				broken = true
				return hangUp(1)(n, w, r)
			})
		}},
		{name: "completion is refused", fault: func(context.CancelFunc) fault { return on(http.MethodPost, "uploadId", always(400, "InvalidPart")) }},
		{name: "the file shrinks", shrink: true, fault: func(context.CancelFunc) fault { return first(0, nil) }},
		{name: "the job is cancelled between parts", wantErr: context.Canceled, fault: func(cancel context.CancelFunc) fault {
			return part("2", func(int, http.ResponseWriter, *http.Request) bool { cancel(); return false })
		}},
		{name: "the job is cancelled while the upload begins", wantErr: context.Canceled, fault: func(cancel context.CancelFunc) fault {
			return on(http.MethodPost, "uploads", func(int, http.ResponseWriter, *http.Request) bool {
				cancel()
				<-time.After(time.Second)
				return false
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				fake, dial := newFake(t)
				fake.fault = tt.fault(cancel)
				s, _ := testStore(t, dial, func(c *Config) { c.WholeSize, c.PartSize, c.Concurrency = 1, 4, 1 })
				data := []byte("0123456789abcdef")
				file := bytesFile("a.mp4", data)
				if tt.shrink {
					file.Content.Size += 3
				}
				_, err := s.Put(ctx, "job-1", 0, file)
				switch {
				case tt.success && err != nil, tt.wantErr != nil && !errors.Is(err, tt.wantErr):
					t.Errorf("Put: %v, want %v", err, tt.wantErr)
				case !tt.success && tt.wantErr == nil:
					expectError(t, err)
				}
				if fake.begun != 1 || len(fake.uploads) != 0 {
					t.Errorf("%d uploads begun, %d left open; want 1, 0", fake.begun, len(fake.uploads))
				}
				if tt.success {
					if _, o := fake.only(); !bytes.Equal(o.data, data) {
						t.Errorf("the store holds %q", o.data)
					}
				} else if len(fake.objects) != 0 {
					t.Errorf("the store holds %d objects", len(fake.objects))
				}
			})
		})
	}
}

// A completion whose answer is lost is recognised when it is repeated.
func TestFault_S5_LostAnswerToCompletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, dial := newFake(t)
		lost := false
		fake.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
			if lost || r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") {
				return false
			}
			lost = true
			fake.mu.Lock()
			fake.serve(discardWriter{}, r, nil)
			fake.mu.Unlock()
			return hangUp(1<<20)(n, w, r)
		}
		s, _ := testStore(t, dial, func(c *Config) { c.WholeSize, c.PartSize = 1, 4 })
		if _, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.mp4", []byte("0123456789"))); err != nil {
			t.Fatal(err)
		}
		if _, o := fake.only(); string(o.data) != "0123456789" {
			t.Errorf("the store holds %q", o.data)
		}
	})
}

type discardWriter struct{}

func (discardWriter) Header() http.Header         { return http.Header{} }
func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (discardWriter) WriteHeader(int)             {}
