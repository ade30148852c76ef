package s3store

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// Toxiproxy leaves goroutines behind where a connection ends with bytes on the way.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"))
}

const (
	testAccess = "CANARY-ACCESS-KEY-ID"
	testSecret = "canary/secret+access/key"
)

// A fakeS3 is a store that takes plain SigV4 requests and nothing else. Before
// each request its fault is asked, which may answer in the store's place.
type fakeS3 struct {
	t     *testing.T
	fault func(n int, w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []*http.Request
	objects  map[string]*stored
	uploads  map[string]map[string][]byte
	begun    int
}

type stored struct {
	data   []byte
	header http.Header
}

// newFake returns a fake and a way to reach it without a network.
func newFake(t *testing.T) (*fakeS3, dialFunc) {
	f := &fakeS3{t: t, objects: map[string]*stored{}, uploads: map[string]map[string][]byte{}}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	over, end := context.WithCancel(context.Background()) // of the test
	server := &http.Server{Handler: f, BaseContext: func(net.Listener) context.Context { return over }}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { end(); server.Close(); <-done })
	return f, l.dial
}

// pipeListener is a network of net.Pipes, which works in a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr {
	return &net.UnixAddr{Name: "pipe", Net: "unix"}
}

// testStore returns a store of the bucket "outputs" that dials as told, and
// what it logs.
func testStore(t *testing.T, dial dialFunc, change ...func(*Config)) (*Store, *observer.ObservedLogs) {
	t.Helper()
	cfg := Config{
		EndpointURL: "http://minio.test:9000/outputs", AccessKeyID: testAccess, SecretAccessKey: testSecret,
	}
	for _, c := range change {
		c(&cfg)
	}
	if cfg.Transport == nil {
		idle := cfg.IdleTimeout
		if idle == 0 {
			idle = defaultIdle
		}
		transport := newTransport(idle, dial)
		t.Cleanup(transport.CloseIdleConnections)
		cfg.Transport = transport
	}
	core, logs := observer.New(zap.DebugLevel)
	s, err := New(cfg, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	return s, logs
}

func bytesFile(name string, data []byte) job.File {
	return job.File{Filename: name, Content: job.Content{
		Size: int64(len(data)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}}
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r)
	n := len(f.requests)
	f.mu.Unlock()
	if f.fault != nil && f.fault(n, w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	if why := unfit(r, body); why != "" {
		f.t.Errorf("%s %s: %s", r.Method, r.URL, why)
		refuse(w, http.StatusBadRequest, "InvalidRequest")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serve(w, r, body)
}

// known is every signed header that the stores in use understand.
var known = []string{"host", "content-length", "content-type", "content-disposition", "x-amz-content-sha256", "x-amz-date"}

// unfit says what a strict store would refuse.
func unfit(r *http.Request, body []byte) string {
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(known, name) || strings.HasPrefix(name, "amz-") {
			return "header " + name + " is not implemented"
		}
	}
	_, signed, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	for name := range strings.SplitSeq(signed, ";") {
		if !slices.Contains(known, name) {
			return "header " + name + " must not be signed"
		}
	}
	sum := sha256.Sum256(body)
	switch {
	case r.Header.Get("Content-Encoding") != "" || len(r.TransferEncoding) > 0 || len(r.Trailer) > 0:
		return "the body is coded or has trailers"
	case r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]):
		return "the payload is not signed as it is"
	case r.ContentLength != int64(len(body)):
		return "the length is not exact"
	case r.URL.Query().Has("x-id"):
		return "the SDK's own query is sent"
	}
	return ""
}

func (f *fakeS3) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	key := strings.TrimPrefix(r.URL.Path, "/outputs/")
	upload := r.URL.Query().Get("uploadId")
	parts, begun := f.uploads[upload]
	if upload != "" && !begun {
		refuse(w, http.StatusNotFound, "NoSuchUpload")
		return
	}
	switch {
	case r.Method == http.MethodPost && upload == "":
		f.begun++
		id := fmt.Sprintf("upload-%d", f.begun)
		f.uploads[id] = map[string][]byte{}
		fmt.Fprintf(w, `<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>`, id)
	case r.Method == http.MethodPut && upload != "":
		parts[r.URL.Query().Get("partNumber")] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == http.MethodPost:
		var all []byte
		for i := range len(parts) {
			all = append(all, parts[fmt.Sprint(i+1)]...)
		}
		f.objects[key] = &stored{all, nil}
		delete(f.uploads, upload)
		io.WriteString(w, `<CompleteMultipartUploadResult><ETag>"x-1"</ETag></CompleteMultipartUploadResult>`)
	case r.Method == http.MethodDelete:
		delete(f.uploads, upload)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		f.objects[key] = &stored{body, r.Header}
		w.Header().Set("ETag", etag(body))
	case f.objects[key] != nil:
		w.Header().Set("Content-Length", fmt.Sprint(len(f.objects[key].data)))
		w.Write(f.objects[key].data)
	default:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	}
}

func etag(body []byte) string {
	sum := md5.Sum(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// refuse answers as S3 answers errors.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Amz-Request-Id", "REQ42")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>It is %s.</Message></Error>`, code, code)
}

// sent is how many requests came in.
func (f *fakeS3) sent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

// only returns the single object of the store.
func (f *fakeS3) only() (key string, o *stored) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.objects) != 1 {
		f.t.Fatalf("the store holds %d objects, want 1", len(f.objects))
	}
	for key, o = range f.objects {
	}
	return key, o
}
