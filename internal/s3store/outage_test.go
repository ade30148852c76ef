package s3store

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Outages of every kind are waited out: up to 6 attempts within 120 s, the file
// read anew for each.
func TestFault_S1_OutagesAreWaitedOut(t *testing.T) {
	const size = 3 << 20 // above the SDK's threshold for "Expect: 100-continue"
	tests := map[string]fault{
		"503 SlowDown":       first(5, always(503, "SlowDown")),
		"500 InternalError":  first(5, always(500, "InternalError")),
		"429":                first(5, always(429, "TooManyRequests")),
		"400 RequestTimeout": first(5, always(400, "RequestTimeout")),
		"502 without XML": first(5, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(502)
			io.WriteString(w, "bad gateway")
			return true
		}),
		"broken before the answer":   first(5, hangUp(size)),
		"broken in mid-body":         first(5, hangUp(size/2)),
		"stalled in mid-body":        first(3, stall(size/2)),
		"no 100-continue, no answer": first(3, stall(0)),
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, dial := newFake(t)
				fake.fault = fault
				s, logs := testStore(t, dial)
				data := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
				file := bytesFile("a.png", data)
				open, opened := file.Content.Open, 0
				file.Content.Open = func() (io.ReadCloser, error) { opened++; return open() }

				began := time.Now()
				got, err := s.Put(t.Context(), "job-1", 0, file)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 2*time.Minute+defaultIdle {
					t.Errorf("it took %s", took)
				}
				if _, o := fake.only(); !bytes.Equal(o.data, data) {
					t.Errorf("the stored object differs from the file")
				}
				if got.URL == "" {
					t.Error("no URL")
				}
				if retries := logs.FilterMessageSnippet("sent again").Len(); retries != fake.sent()-1 {
					t.Errorf("%d retries logged for %d requests", retries, fake.sent())
				}
				if opened > fake.sent()+1 {
					t.Errorf("file opened %d times for %d requests", opened, fake.sent())
				}
			})
		})
	}
}

// With one attempt only, the outage that is waited out above fails the upload.
func TestFault_S1_OneAttemptIsNotEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, dial := newFake(t)
		fake.fault = first(1, always(503, "SlowDown"))
		s, _ := testStore(t, dial, func(c *Config) { c.Attempts = 1 })
		_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
		if e := expectError(t, err); e.Attempts != 1 || fake.sent() != 1 {
			t.Errorf("%d attempts, %d requests, want 1", e.Attempts, fake.sent())
		}
	})
}

// An outage without an end is given up after 6 attempts, with everything that
// the store told about it.
func TestFault_S1_OutageWithoutEndIsReported(t *testing.T) {
	tests := []struct {
		name  string
		fault fault
		want  string
	}{
		{"503", always(503, "SlowDown"), "S3 is overloaded or down (503 SlowDown, request REQ42, 6 attempts): It is SlowDown; run the job again later"},
		{"stalled", stall(0), "S3 did not answer (6 attempts): "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, dial := newFake(t)
				fake.fault = tt.fault
				s, _ := testStore(t, dial, func(c *Config) { c.Deadline = time.Hour })
				_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
				e := expectError(t, err)
				if fake.sent() != 6 || e.Attempts != 6 || !e.Retryable() {
					t.Errorf("%d requests, %d attempts, retryable %t; want 6, 6, true", fake.sent(), e.Attempts, e.Retryable())
				}
				if !strings.Contains(e.Error(), tt.want) || !strings.Contains(e.Error(), "PutObject s3://outputs/2000-01-01/job-1/a.png: ") {
					t.Errorf("error\n got %v\nwant %q in it", e, tt.want)
				}
			})
		})
	}
}

// A store that is silent is given up at the deadline, even with attempts left.
func TestFault_S1_DeadlineEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, dial := newFake(t)
		fake.fault = stall(0)
		s, _ := testStore(t, dial, func(c *Config) { c.Attempts = 100 })
		began := time.Now()
		_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
		expectError(t, err)
		if took := time.Since(began); took > defaultDeadline+2*defaultIdle {
			t.Errorf("gave up after %s", took)
		}
	})
}

func TestPausesAreRandomAndBounded(t *testing.T) {
	limits := []time.Duration{time.Second, 3 * time.Second, 9 * time.Second, 27 * time.Second, time.Minute}
	var drawn [5]map[time.Duration]bool
	for i := range drawn {
		drawn[i] = map[time.Duration]bool{}
	}
	for range 200 {
		p := newPatience(defaultDeadline)
		p.Reset()
		for i, limit := range limits {
			pause := p.NextBackOff()
			if pause < 0 || pause > limit {
				t.Fatalf("pause %d is %s, want at most %s", i+1, pause, limit)
			}
			drawn[i][pause.Truncate(limit/8)] = true
		}
	}
	for i := range drawn {
		if len(drawn[i]) < 8 {
			t.Errorf("pauses %d fell into %d of 8 parts of their range", i+1, len(drawn[i]))
		}
	}
}
