package s3store

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A clock that is wrong costs one request: the store's time is taken from its
// answer, for later requests and for links as well.
func TestFault_S6_ClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{20 * time.Minute, -20 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, dial := newFake(t)
				theirs := func() time.Time { return time.Now().Add(skew).UTC() }
				fake.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
					w.Header().Set("Date", theirs().Format(http.TimeFormat))
					if signedFor(t, r.Header.Get("X-Amz-Date"), theirs()) {
						return false
					}
					refuse(w, 403, "RequestTimeTooSkewed")
					return true
				}
				s, _ := testStore(t, dial)
				for i := range 2 {
					file, err := s.Put(t.Context(), "job-1", i, bytesFile(fmt.Sprint(i), []byte("png")))
					if err != nil {
						t.Fatal(err)
					}
					link, err := url.Parse(file.URL)
					if err != nil || !signedFor(t, link.Query().Get("X-Amz-Date"), theirs()) {
						t.Errorf("link %s is not signed in the store's time %s", file.URL, theirs())
					}
				}
				if fake.sent() != 3 {
					t.Errorf("2 files took %d requests, want 3", fake.sent())
				}
			})
		})
	}
}

// signedFor tells whether a store would accept the date of a signature.
func signedFor(t *testing.T, date string, now time.Time) bool {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil {
		t.Errorf("date of the signature: %v", err)
	}
	return now.Sub(at).Abs() < 15*time.Minute
}

// A clock that stays wrong whatever we do is reported, not asked for ever.
func TestFault_S6_ClockThatCannotBeMended(t *testing.T) {
	fake, dial := newFake(t)
	fake.fault = always(403, "RequestTimeTooSkewed") // with a right Date
	s, _ := testStore(t, dial)
	_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a", []byte("png")))
	if e := expectError(t, err); fake.sent() != 1 || !strings.Contains(e.Error(), "set the clock of this machine") {
		t.Errorf("%d requests, error %v", fake.sent(), e)
	}
}
