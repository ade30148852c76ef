package runpod_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// recorder keeps the last request of each kind as it came over the wire, and
// passes it on.
type recorder struct {
	next http.Handler

	mu    sync.Mutex
	last  map[string]string
	stops chan struct{} // has a token for the first poll of the stop channel
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	dump, err := httputil.DumpRequest(req, true)
	if err != nil {
		panic(err)
	}
	text := strings.ReplaceAll(string(dump), "\r\n", "\n")
	kind := strings.Split(req.URL.Path, "/")[3]
	switch {
	case strings.Contains(text, `"IN_PROGRESS"`):
		kind = "progress"
	case strings.Contains(text, `"error"`):
		kind = "done-error"
	case strings.Contains(text, "status=unhealthy"):
		kind = "unhealthy"
	}
	r.mu.Lock()
	r.last[kind] = strings.ReplaceAll(text, req.Host, "queue.test")
	r.mu.Unlock()
	if kind == "job-stop" {
		select {
		case r.stops <- struct{}{}:
		default:
		}
	}
	r.next.ServeHTTP(w, req)
}

// TestRequestsOnTheWire holds each call to its golden file, with templates that have
// a query, as RunPod's have, and with such as end in a bare question mark.
func TestRequestsOnTheWire(t *testing.T) {
	t.Run("query", func(t *testing.T) { requestsOnTheWire(t, "", func(url string) string { return url }) })
	t.Run("no query", func(t *testing.T) {
		requestsOnTheWire(t, "bare-", func(url string) string {
			path, _, _ := strings.Cut(url, "?")
			return path + "?"
		})
	})
}

func requestsOnTheWire(t *testing.T, prefix string, template func(string) string) {
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: "the-key", HoldStop: time.Minute})
	r := &recorder{next: q.Queue, last: make(map[string]string), stops: make(chan struct{}, 1)}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	cfg := config(q)
	for _, t := range []*runpod.Template{&cfg.TakeURL, &cfg.DoneURL, &cfg.StreamURL, &cfg.PingURL} {
		t.URL = template(t.URL)
	}
	cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}
	cfg.PingInterval = 20 * time.Millisecond
	c, _ := start(t, cfg)
	<-r.stops
	for _, id := range []string{"job 1/a", "job-2", "job-3"} {
		q.Submit(id, `{"workflow":{}}`)
	}
	takeOne(t, c, "job 1/a")
	if jobs := take(t, c, 2); len(jobs) != 2 {
		t.Fatalf("took %d jobs, want 2", len(jobs))
	}
	at := job.Progress{Percent: 12.5, Phase: "execute", Node: "4", Class: "KSampler", Step: 1, Steps: 8, Attempt: 1}
	c.Progress("job 1/a", at)
	at.Preview = &job.Preview{MIME: "image/jpeg", Data: []byte("small")}
	c.Progress("job 1/a", at)
	err := q.WaitLedger(t.Context(), func(l runpodtest.Ledger) bool {
		n := len(l.Pings)
		return n > 0 && len(l.Pings[n-1].Jobs) == 3 && len(l.Jobs[0].Progress) == 1 && len(l.Jobs[0].Stream) == 1
	})
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	ping := r.last["ping"]
	r.mu.Unlock()
	done := completed("job 1/a")
	done.Refresh = true
	done.Output.Files = []job.File{image([]byte("pixels"))}
	finish(t, c, failed("job-2"))
	finish(t, c, failed("job-3"))
	finish(t, c, done)
	if err := c.Unhealthy(t.Context(), "gpu", "no GPU & no hope"); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last["ping"] = ping
	for name, kind := range map[string]string{
		"ping": "ping", "unhealthy": "unhealthy", "take": "job-take", "take-batch": "job-take-batch", "stop": "job-stop",
		"progress": "progress", "stream": "job-stream", "done-ok": "job-done", "done-error": "done-error",
	} {
		golden(t, prefix+name+".golden", r.last[kind])
	}
	check(t, q)
}

// A certificate that cannot be trusted is an error that names host and reason, and nothing is sent in the clear.
func TestFault_T5_UntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request came through")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	defer s.Close()
	url := s.URL + "/v2/ep/job-take/hunter2?token=hunter2"
	cfg := runpod.Config{
		TakeURL: runpod.Template{URL: url}, DoneURL: runpod.Template{URL: url}, PingURL: runpod.Template{URL: url},
		APIKey: "hunter2", ResultDeadline: time.Millisecond,
	}
	c, logs := start(t, cfg)
	err := c.Done(t.Context(), completed("job"))
	if err == nil || !strings.Contains(err.Error(), "https://127.0.0.1:") || !strings.Contains(err.Error(), "x509: ") {
		t.Errorf("Done = %v, want host and reason", err)
	}
	takeInVain(t, c, 200*time.Millisecond)
	if all := text(logs) + err.Error() + c.Unhealthy(t.Context(), "gpu", "gone").Error(); strings.Contains(all, "hunter2") || !strings.Contains(text(logs), "x509") {
		t.Errorf("secrets or no reason in:\n%s", all)
	}
}

// Neither the key nor what stands in path and query of the URLs appears in a log line or an error, whatever goes wrong.
func TestFault_X3_NoSecretInLogsOrErrors(t *testing.T) {
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: "hunter2"})
	cfg := config(q)
	for _, u := range []*runpod.Template{&cfg.TakeURL, &cfg.DoneURL, &cfg.PingURL} {
		u.URL = strings.ReplaceAll(u.URL, "simulated", "hunter2")
	}
	cfg.BackoffMax, cfg.Unauthorized, cfg.Throttled, cfg.StopFloor = time.Millisecond, time.Millisecond, time.Millisecond, time.Millisecond
	cfg.ResultDeadline, cfg.AuthDeadline, cfg.PingInterval = 50*time.Millisecond, 50*time.Millisecond, 10*time.Millisecond
	c, logs := start(t, cfg)
	var said strings.Builder
	for _, f := range []runpodtest.Fault{
		{Cut: true}, {Status: 401}, {Status: 500}, {Status: 429}, {Status: 400}, {Status: 302, Header: http.Header{"Location": {"/hunter2"}}},
		{Status: 302, Header: http.Header{"Location": {"https://hunter2.invalid:1/hunter2"}}}, {Status: 200, Body: "hunter2"},
	} {
		for _, call := range []runpodtest.Call{runpodtest.TakeJobs, runpodtest.StopJobs, runpodtest.Beat, runpodtest.Done, runpodtest.Progress} {
			f.Call, f.Times = call, 3
			q.Inject(f)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := c.Take(ctx, 1)
		cancel()
		fmt.Fprintln(&said, err, c.Done(t.Context(), completed("job")), c.Unhealthy(t.Context(), "gpu", "x"), c.Err())
	}
	if all := said.String() + text(logs); strings.Contains(strings.ReplaceAll(all, "hunter2.invalid", ""), "hunter2") {
		t.Errorf("a secret is in:\n%s", all)
	}
}

// Over real sockets, with every call going wrong at random, no job is lost, mixed up or finished twice.
func TestFault_R5_ManyJobsOverRealSockets(t *testing.T) {
	const jobs, workers = 150, 2
	q := runpodtest.NewServer(t, runpodtest.Config{
		APIKey: "key", Hold: time.Second, HoldStop: time.Second, Lease: 400 * time.Millisecond,
		Result: func(id string, body []byte) error {
			if !strings.Contains(string(body), `"job":"`+id+`"`) {
				return fmt.Errorf("its result is that of another job: %s", body)
			}
			return nil
		},
	})
	for i := range jobs {
		q.Submit(fmt.Sprint("job-", i), `{}`)
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range jobs / 3 {
		calls := []runpodtest.Call{runpodtest.TakeJobs, runpodtest.Done, runpodtest.Progress, runpodtest.StopJobs, runpodtest.Beat}
		q.Inject(runpodtest.Fault{
			Call: calls[random.IntN(len(calls))], Act: random.IntN(2) == 0, Cut: random.IntN(2) == 0, Status: 500 + random.IntN(5),
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g errgroup.Group
	for i := range workers {
		cfg := config(q)
		cfg.WorkerID = fmt.Sprint("worker-", i)
		cfg.BackoffMax, cfg.IdleMax, cfg.PingInterval = 20*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
		c, _ := start(t, cfg)
		g.Go(func() error { return work(ctx, c, &g) })
	}
	for i := range jobs {
		if _, err := q.Wait(t.Context(), fmt.Sprint("job-", i)); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	check(t, q)
}

// work takes jobs and finishes each in a goroutine of its own.
func work(ctx context.Context, c *runpod.Client, g *errgroup.Group) error {
	for {
		jobs, err := c.Take(ctx, 4)
		if err != nil {
			return nil
		}
		for _, j := range jobs {
			g.Go(func() error {
				c.Progress(j.ID, job.Progress{Percent: 50})
				return c.Done(context.WithoutCancel(ctx), completed(j.ID))
			})
		}
	}
}

func TestClientWithoutRunTakesAndFinishes(t *testing.T) {
	q := runpodtest.NewServer(t, runpodtest.Config{})
	q.Submit("job", `{}`)
	cfg := config(q)
	cfg.Greeting = 10 * time.Millisecond
	c, err := runpod.New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	takeOne(t, c, "job")
	finish(t, c, completed("job"))
	check(t, q)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ended); err != context.Canceled { // closes the connections
		t.Errorf("Run = %v", err)
	}
}
