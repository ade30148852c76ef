package s3store

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// What cannot be read is not the store's fault, and no request is sent for it.
func TestUnreadableFileIsNotRepeated(t *testing.T) {
	fake, dial := newFake(t)
	s, _ := testStore(t, dial)
	gone := job.File{Filename: "a.png", Content: job.Content{Size: 3, Open: func() (io.ReadCloser, error) { return nil, errors.New("it is gone") }}}
	short := bytesFile("b.png", []byte("12"))
	short.Content.Size = 3
	for _, file := range []job.File{gone, short} {
		_, err := s.Put(t.Context(), "job-1", 0, file)
		if e := expectError(t, err); fake.sent() != 0 || e.Retryable() || !strings.Contains(e.Error(), "nothing was stored: read the file: it is") {
			t.Errorf("%d requests, retryable %t, error %v", fake.sent(), e.Retryable(), e)
		}
	}
}

func TestUnknownHostIsNotRepeated(t *testing.T) {
	dialed := 0
	s, _ := testStore(t, func(context.Context, string, string) (net.Conn, error) {
		dialed++
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "minio.test", IsNotFound: true}}
	})
	_, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.png", []byte("png")))
	if e := expectError(t, err); dialed != 1 || !strings.Contains(e.Error(), "S3 did not answer: dial tcp: lookup minio.test: no such host; check BUCKET_ENDPOINT_URL") {
		t.Errorf("dialed %d times, error %v", dialed, e)
	}
}

func TestEmptyFileIsStored(t *testing.T) {
	fake, dial := newFake(t)
	s, _ := testStore(t, dial)
	if _, err := s.Put(t.Context(), "job-1", 0, bytesFile("a.txt", nil)); err != nil {
		t.Fatal(err)
	}
	if _, o := fake.only(); len(o.data) != 0 {
		t.Errorf("the store holds %q", o.data)
	}
}
