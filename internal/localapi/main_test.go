package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

var update = flag.Bool("update", false, "write testdata instead of comparing with it")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// api is a running Server and a client of it.
type api struct {
	*Server
	t      *testing.T
	url    string
	client *http.Client
	// stop ends Run and returns its error. The end of the test calls it, too.
	stop func() error
}

// serve runs a Server on a loopback port.
func serve(t *testing.T, cfg Config) *api {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, cfg, l, "http://"+l.Addr().String(), &http.Transport{})
}

// serveInMemory runs a Server without sockets, for bubbles of virtual time.
func serveInMemory(t *testing.T, cfg Config) *api {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return start(t, cfg, l, "http://in-memory", &http.Transport{DialContext: l.dial})
}

func start(t *testing.T, cfg Config, l net.Listener, url string, transport *http.Transport) *api {
	t.Helper()
	return startWith(t, cfg, l, url, transport, zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel)))
}

func startWith(t *testing.T, cfg Config, l net.Listener, url string, transport *http.Transport, log *zap.Logger) *api {
	t.Helper()
	a := &api{
		Server: New(cfg, l, log),
		t:      t,
		url:    url,
		client: &http.Client{Transport: transport},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = a.Run(ctx)
	}()
	a.stop = func() error {
		cancel()
		<-ended
		return err
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := a.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v, want %v", err, context.Canceled)
		}
	})
	return a
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "in.memory", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answer is what a client got.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// job is the answer as a job.
func (a answer) job(t *testing.T) jobAnswer {
	t.Helper()
	var j jobAnswer
	if err := json.Unmarshal(a.body, &j); err != nil {
		t.Fatalf("answer %d is no JSON: %v: %.200s", a.code, err, a.body)
	}
	return j
}

type jobAnswer struct {
	ID            string
	Status        state
	Error         string
	Output        json.RawMessage
	WorkerID      string
	DelayTime     *int64
	ExecutionTime *int64
	Stream        []struct{ Output job.Progress }
}

// try sends a request. Header is a list of names and values; the value of Host
// is the request's host.
func (a *api) try(method, path, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	got := answer{resp.StatusCode, resp.Header, bytes.TrimSpace(text)}
	if d, derr := described(); derr != nil || err == nil && d.check(method, path, got) != nil {
		a.t.Error(derr, d.check(method, path, got))
	}
	return got, err
}

func (a *api) send(method, path, body string, header ...string) answer {
	a.t.Helper()
	got, err := a.try(method, path, body, header...)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// want sends a request and checks the status of the answer.
func (a *api) want(code int, method, path, body string, header ...string) answer {
	a.t.Helper()
	got := a.send(method, path, body, header...)
	if got.code != code {
		a.t.Fatalf("%s %s = %d %s, want %d", method, path, got.code, got.body, code)
	}
	return got
}

// inBackground sends a request whose answer comes later.
func (a *api) inBackground(method, path, body string) <-chan answer {
	later := make(chan answer, 1)
	go func() {
		defer close(later)
		got, err := a.try(method, path, body)
		if err != nil {
			a.t.Errorf("%s %s: %v", method, path, err)
			return
		}
		later <- got
	}()
	return later
}

const someJob = `{"input":{"workflow":{"1":{}}}}`

// submit queues a job and returns its id.
func (a *api) submitJob() string {
	a.t.Helper()
	return a.want(http.StatusOK, "POST", "/run", someJob).job(a.t).ID
}

// takeOne takes a job as the worker does.
func (a *api) takeOne() job.Job {
	a.t.Helper()
	jobs, err := a.Take(a.t.Context(), 1)
	if err != nil || len(jobs) != 1 {
		a.t.Fatalf("Take = %d jobs, %v, want one", len(jobs), err)
	}
	return jobs[0]
}

func (a *api) done(r job.Result) {
	a.t.Helper()
	if err := a.Done(a.t.Context(), r); err != nil {
		a.t.Fatalf("Done: %v", err)
	}
}

// stateOf asks for a job and returns its state.
func (a *api) stateOf(id string) state {
	a.t.Helper()
	return a.want(http.StatusOK, "GET", "/status/"+id, "").job(a.t).Status
}

// image is a completed result with one picture of n zero bytes.
func image(id string, n int64) job.Result {
	return job.Result{ID: id, Output: &job.Output{Files: []job.File{{
		Filename: "a.png", Kind: "images",
		Content: job.Content{Size: n, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(zeros{}, n)), nil
		}},
	}}}}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func failure(id, cause string) job.Result {
	return job.Result{ID: id, Failure: &job.Failure{
		Kind: "workflow", Cause: cause, Message: "KSampler: it broke; mend the workflow", Attempts: 1,
	}}
}
