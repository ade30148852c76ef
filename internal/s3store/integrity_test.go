package s3store

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// An answer of 200 is no proof: an error in its body and an object that is not
// what was sent are repeated, and never end as a success.
func TestFault_S3_SuccessThatIsNone(t *testing.T) {
	data := []byte("the whole file")
	errorBody := func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		io.WriteString(w, `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>later</Message></Error>`)
		return true
	}
	tests := []struct {
		name    string
		fault   func(*fakeS3) fault
		parts   bool
		wantErr string // "" if a repetition mends it
	}{
		{name: "error body once", fault: func(*fakeS3) fault { return first(1, errorBody) }},
		{name: "error body always", fault: func(*fakeS3) fault { return errorBody }, wantErr: "InternalError"},
		{name: "truncated once", fault: func(f *fakeS3) fault { return first(1, f.truncate) }},
		{name: "truncated always", fault: func(f *fakeS3) fault { return f.truncate }, wantErr: "the upload was damaged"},
		{name: "parts: error body when completed", parts: true, fault: func(*fakeS3) fault {
			failed := false
			return func(n int, w http.ResponseWriter, r *http.Request) bool {
				if failed || r.Method != http.MethodPost || r.URL.Query().Get("uploadId") == "" {
					return false
				}
				failed = true
				return errorBody(n, w, r)
			}
		}},
		{name: "parts: one is lost", parts: true, wantErr: "the store holds 12 bytes where 14 was sent", fault: func(*fakeS3) fault {
			return func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("partNumber") != "4" {
					return false
				}
				w.Header().Set("ETag", `"x"`)
				return true
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, dial := newFake(t)
				fake.fault = tt.fault(fake)
				s, _ := testStore(t, dial, func(c *Config) {
					if tt.parts {
						c.WholeSize, c.PartSize = 1, 4
					}
				})
				_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", data))
				if tt.wantErr != "" {
					if e := expectError(t, err); !strings.Contains(e.Error(), tt.wantErr) || !e.Retryable() {
						t.Errorf("error %v, want %q in it", e, tt.wantErr)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, o := fake.only(); !bytes.Equal(o.data, data) {
					t.Errorf("the store holds %q, want %q", o.data, data)
				}
			})
		})
	}
}

// truncate stores half of the body and answers truly what it stored.
func (f *fakeS3) truncate(_ int, w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPut {
		return false
	}
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	body = body[:len(body)/2]
	f.objects[strings.TrimPrefix(r.URL.Path, "/outputs/")] = &stored{data: body}
	w.Header().Set("ETag", etag(body))
	return true
}

// A store whose ETags look like MD5 and are none is believed when the object,
// read back once, is what was sent.
func TestFault_S3_StoreWithETagsOfItsOwn(t *testing.T) {
	fake, dial := newFake(t)
	fake.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		fake.mu.Lock()
		defer fake.mu.Unlock()
		fake.objects[strings.TrimPrefix(r.URL.Path, "/outputs/")] = &stored{data: body}
		w.Header().Set("ETag", etag([]byte(fmt.Sprint(n))))
		return true
	}
	s, _ := testStore(t, dial)
	for i := range 3 {
		if _, err := s.Put(t.Context(), "job-1", i, bytesFile(fmt.Sprint(i), []byte("png"))); err != nil {
			t.Fatal(err)
		}
	}
	if fake.sent() != 4 {
		t.Errorf("3 files took %d requests, want 3 and one to read back", fake.sent())
	}
}

// Of five files of which the fourth is refused, four have a URL and the fourth
// has none and an error with its key.
func TestFault_S4_EachFileHasItsOwnFate(t *testing.T) {
	fake, dial := newFake(t)
	fake.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/4.png") {
			return false
		}
		refuse(w, 403, "AccessDenied")
		return true
	}
	s, _ := testStore(t, dial)
	for i := 1; i <= 5; i++ {
		file, err := s.Put(t.Context(), "job-1", i-1, bytesFile(fmt.Sprintf("%d.png", i), []byte("png")))
		if i == 4 {
			if e := expectError(t, err); file.URL != "" || !strings.HasSuffix(e.Key, "/job-1/4.png") {
				t.Errorf("file 4: URL %q, error for key %q", file.URL, e.Key)
			}
		} else if err != nil || file.URL == "" {
			t.Errorf("file %d: URL %q, error %v", i, file.URL, err)
		}
	}
}
