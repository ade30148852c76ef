package s3store

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What waiting cannot mend is asked once, and the error names S3's code and the
// variable to look at.
func TestFault_S2_RefusalsAreNotRepeated(t *testing.T) {
	tests := []struct {
		status int
		code   string
		want   string
	}{
		{403, "InvalidAccessKeyId", "S3 refused the keys (403 InvalidAccessKeyId, request REQ42): It is InvalidAccessKeyId; check BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY"},
		{403, "SignatureDoesNotMatch", "check BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY"},
		{403, "AccessDenied", "allow them s3:PutObject on this bucket"},
		{404, "NoSuchBucket", "there is no such bucket (404 NoSuchBucket"},
		{400, "InvalidRequest", "S3 refused the request (400 InvalidRequest"},
		{400, "AuthorizationHeaderMalformed", "set AWS_DEFAULT_REGION"},
		{301, "PermanentRedirect", "set AWS_DEFAULT_REGION"},
		{501, "NotImplemented", "501 NotImplemented"},
		{507, "XMinioStorageFull", "the store is full"},
		{413, "EntityTooLarge", "the file is too large for this store"},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			fake, dial := newFake(t)
			fake.fault = always(tt.status, tt.code)
			s, _ := testStore(t, dial)
			_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
			e := expectError(t, err)
			if fake.sent() != 1 || e.Status != tt.status || e.Code != tt.code || e.RequestID != "REQ42" || e.Retryable() {
				t.Errorf("%d requests, error %+v; want 1 request, %d %s", fake.sent(), e, tt.status, tt.code)
			}
			if !strings.Contains(e.Error(), tt.want) {
				t.Errorf("error\n got %v\nwant %q in it", e, tt.want)
			}
		})
	}
}

// A store that repeats our keys in its message does not bring them into the
// error.
func TestFault_S2_KeysInAnAnswerAreMasked(t *testing.T) {
	fake, dial := newFake(t)
	fake.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(403)
		fmt.Fprintf(w, "<Error><Code>InvalidAccessKeyId</Code><Message>No key %s\n with %s</Message></Error>", testAccess, testSecret)
		return true
	}
	s, _ := testStore(t, dial)
	_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
	if e := expectError(t, err); !strings.Contains(e.Error(), "No key *** with ***") {
		t.Errorf("error %q, want the keys masked", e)
	}
}

// A bucket in another region is found with one further request, which is signed
// for that region and, at AWS, goes to that region's host.
func TestFault_S2_RegionIsFollowedOnce(t *testing.T) {
	const elsewhere = "eu-west-3"
	told := func(status int, answer func(w http.ResponseWriter)) fault {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.Header.Get("Authorization"), "/"+elsewhere+"/s3/") {
				return false
			}
			answer(w)
			return true
		}
	}
	header := func(status int, code string) fault {
		return told(status, func(w http.ResponseWriter) {
			w.Header().Set("X-Amz-Bucket-Region", elsewhere)
			refuse(w, status, code)
		})
	}
	message := told(400, func(w http.ResponseWriter) {
		w.WriteHeader(400)
		io.WriteString(w, `<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-3'</Message></Error>`)
	})
	tests := []struct {
		name, endpoint string
		fault          fault
		wantHost       string
	}{
		{"301", "http://s3.us-east-1.amazonaws.com/outputs", header(301, "PermanentRedirect"), "s3.eu-west-3.amazonaws.com"},
		{"307", "http://s3.us-east-1.amazonaws.com/outputs", header(307, "TemporaryRedirect"), "s3.eu-west-3.amazonaws.com"},
		{"400", "http://s3.amazonaws.com/outputs", message, "s3.eu-west-3.amazonaws.com"},
		{"400 from MinIO", "http://minio.test:9000/outputs", message, "minio.test:9000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake, dial := newFake(t)
			fake.fault = tt.fault
			s, _ := testStore(t, dial, func(c *Config) { c.EndpointURL = tt.endpoint })
			for i := range 2 {
				file, err := s.Put(t.Context(), "job-1", i, bytesFile(fmt.Sprint(i), []byte("png")))
				if err != nil {
					t.Fatal(err)
				}
				if got := fake.requests[len(fake.requests)-1].Host; got != tt.wantHost || !strings.Contains(file.URL, tt.wantHost) || !strings.Contains(file.URL, elsewhere+"%2Fs3") {
					t.Errorf("the last request went to %s, the link is %s; want %s", got, file.URL, tt.wantHost)
				}
			}
			if fake.sent() != 3 {
				t.Errorf("two files took %d requests, want 3", fake.sent())
			}
		})
	}
}

// A store that sends us from region to region is not followed for ever.
func TestFault_S2_RegionsInACircle(t *testing.T) {
	fake, dial := newFake(t)
	fake.fault = func(n int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Amz-Bucket-Region", fmt.Sprintf("nowhere-%d", n))
		refuse(w, 301, "PermanentRedirect")
		return true
	}
	s, _ := testStore(t, dial)
	_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
	expectError(t, err)
	if fake.sent() != 3 {
		t.Errorf("%d requests, want 3", fake.sent())
	}
}

// A region is made part of a host's name only if it looks like one.
func TestFault_S2_RegionIsNotTrustedBlindly(t *testing.T) {
	fake, dial := newFake(t)
	fake.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Amz-Bucket-Region", "evil.example/")
		refuse(w, 301, "PermanentRedirect")
		return true
	}
	s, _ := testStore(t, dial, func(c *Config) { c.EndpointURL = "http://outputs.s3.amazonaws.com" })
	_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
	expectError(t, err)
	if fake.sent() != 1 {
		t.Errorf("%d requests, want 1", fake.sent())
	}
}

// Check is one HEAD request, follows the region, and tells what it saw.
func TestFault_S2_CheckAsksForTheBucket(t *testing.T) {
	t.Run("there", func(t *testing.T) {
		fake, dial := newFake(t)
		fake.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodHead }
		s, _ := testStore(t, dial)
		if err := s.Check(t.Context()); err != nil || fake.requests[0].URL.Path != "/outputs" {
			t.Errorf("Check: %v after HEAD %s", err, fake.requests[0].URL)
		}
	})
	for status, want := range map[int]string{
		403: "HeadBucket s3://outputs: S3 does not let these keys look at the bucket (403 Forbidden",
		404: "there is no such bucket (404 NotFound",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			fake, dial := newFake(t)
			fake.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
			s, _ := testStore(t, dial)
			if e := expectError(t, s.Check(t.Context())); !strings.Contains(e.Error(), want) {
				t.Errorf("Check: %v, want %q in it", e, want)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fake, dial := newFake(t)
			fake.fault = stall(0)
			s, _ := testStore(t, dial)
			began := time.Now()
			err := s.Check(t.Context())
			if err == nil || !strings.Contains(err.Error(), "no answer within 3s") || time.Since(began) != checkTimeout {
				t.Errorf("Check: %v after %s, want no answer within 3s", err, time.Since(began))
			}
		})
	})
}
