package status

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sources() Sources {
	return Sources{
		Loops:   func() []Loop { return nil },
		Ready:   func() error { return nil },
		State:   func() any { return map[string]int{"incarnation": 3} },
		Metrics: NewMetrics("v1"),
	}
}

func get(t *testing.T, s Sources, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestAnswers(t *testing.T) {
	late := sources()
	late.Loops = func() []Loop { return []Loop{{"heartbeat", 0}, {"worker", 1500 * time.Millisecond}} }
	closed := sources()
	closed.Ready = func() error { return errors.New(`killed by SIGKILL after 3m12s`) }
	broken := sources()
	broken.State = func() any { return func() {} }
	tests := []struct {
		name string
		Sources
		path string
		code int
		body string
	}{
		{"working", sources(), "/healthz", 200, `{"status":"working"}`},
		{"late loop is named", late, "/healthz", 503, `{"status":"late","late":[{"loop":"worker","late_seconds":1.5}]}`},
		{"ready", sources(), "/readyz", 200, `{"ready":true}`},
		{"not ready says why", closed, "/readyz", 503, `{"ready":false,"reason":"killed by SIGKILL after 3m12s"}`},
		{"state", sources(), "/debug/state", 200, `{"incarnation":3}`},
		{"state that is no JSON", broken, "/debug/state", 500, ""},
		{"unknown page", sources(), "/", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, body := get(t, tt.Sources, tt.path)
			if code != tt.code {
				t.Errorf("code %d, want %d", code, tt.code)
			}
			if tt.body != "" && compact(t, body) != tt.body {
				t.Errorf("body %s, want %s", compact(t, body), tt.body)
			}
		})
	}
}

func compact(t *testing.T, body string) string {
	t.Helper()
	var out strings.Builder
	d := json.NewDecoder(strings.NewReader(body))
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		t.Fatalf("decode %q: %v", body, err)
	}
	out.WriteString(regexp.MustCompile(`\s*\n\s*`).ReplaceAllString(string(raw), ""))
	return strings.ReplaceAll(out.String(), `": `, `":`)
}

func TestMetricsPage(t *testing.T) {
	s := sources()
	m := s.Metrics
	m.ChildState("comfyui", "", "running")
	m.ChildState("comfyui", "running", "backoff")
	m.Restarted("comfyui", "crashed")
	m.Gate("comfyui", true)
	m.JobTaken()
	m.JobTaken()
	m.JobDone("failed", "gpu_out_of_memory", 4*time.Second)
	m.Received(5)
	m.Retried("s3")
	m.Booted("comfyui", 8*time.Second)
	m.Ended("comfyui", "signal", time.Hour)
	m.Memory(3, 4)
	m.Child("comfyui", 2, 6, 8)
	m.Queue(func() int { return 9 })
	m.Phase("execute", 3*time.Second)
	m.Delivered("s3", 1<<20)
	m.LogDropped(7)
	code, body := get(t, s, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("code %d: %s", code, body)
	}
	for _, want := range []string{
		`comfyvisor_child_state{instance="comfyui",state="running"} 0`,
		`comfyvisor_child_state{instance="comfyui",state="backoff"} 1`,
		`comfyvisor_child_restarts_total{cause="crashed",instance="comfyui"} 1`,
		`comfyvisor_gate_open{instance="comfyui"} 1`,
		`comfyvisor_jobs_running 1`,
		`comfyvisor_jobs_total{cause="gpu_out_of_memory",outcome="failed"} 1`,
		`comfyvisor_job_phase_seconds_bucket{phase="execute",le="2.5"} 0`,
		`comfyvisor_job_phase_seconds_bucket{phase="execute",le="5"} 1`,
		`comfyvisor_delivered_bytes_total{store="s3"} 1.048576e+06`,
		`comfyvisor_log_lines_dropped_total 7`,
		`comfyvisor_received_bytes_total 5`,
		`comfyvisor_delivery_retries_total{to="s3"} 1`,
		`comfyvisor_job_seconds_sum{outcome="failed"} 4`,
		`comfyvisor_child_boot_seconds_bucket{instance="comfyui",le="10"} 1`,
		`comfyvisor_incarnation_seconds_bucket{end="signal",instance="comfyui",le="600"} 0`,
		`comfyvisor_incarnation_seconds_bucket{end="signal",instance="comfyui",le="3600"} 1`,
		`comfyvisor_memory_bytes{kind="limit"} 4`,
		`comfyvisor_child_resident_bytes{instance="comfyui"} 2`,
		`comfyvisor_gpu_memory_bytes{instance="comfyui",kind="used"} 6`,
		`comfyvisor_jobs_queued 9`,
		`comfyvisor_build_info{version="v1"} 1`,
		`go_goroutines`,
		`process_resident_memory_bytes`,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	m.Child("comfyui", 2, 0, 0)
	if _, body := get(t, s, "/metrics"); strings.Contains(body, "\ncomfyvisor_gpu_memory_bytes") {
		t.Error("the memory of a GPU that cannot be asked is still shown")
	}
	m.Gate("comfyui", false)
	if _, body = get(t, s, "/metrics"); !strings.Contains(body, "\ncomfyvisor_gate_open{instance=\"comfyui\"} 0") {
		t.Error("the gate is still shown as open")
	}
	if _, other := get(t, sources(), "/metrics"); strings.Contains(other, `cause="crashed"`) {
		t.Error("two Metrics share what they count")
	}
}

// start runs a server on a port of its own until the test ends.
func start(t *testing.T, s Sources) (url string) {
	t.Helper()
	server, err := Listen("127.0.0.1:0", s, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want the context's error", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return "http://" + server.Addr().String()
}

// /healthz answers at once and names the late loop while other answers are
// stuck behind a lock that somebody holds.
func TestFault_L9_HealthAnswersWhileEverythingElseIsStuck(t *testing.T) {
	var lock sync.Mutex
	lock.Lock()
	stuck := make(chan struct{})
	s := sources()
	s.Loops = func() []Loop { return []Loop{{"worker", time.Minute}} }
	s.State = func() any { close(stuck); lock.Lock(); defer lock.Unlock(); return "free" }
	url := start(t, s)

	var other sync.WaitGroup
	other.Go(func() { fetch(t, url+"/debug/state") })
	<-stuck
	began := time.Now()
	code, body := fetch(t, url+"/healthz")
	took := time.Since(began)
	if code != http.StatusServiceUnavailable || !strings.Contains(body, `"loop": "worker"`) {
		t.Errorf("got %d %s, want 503 and the worker's name", code, body)
	}
	// 50 ms are required; the bound leaves room for a loaded machine.
	if took > time.Second {
		t.Errorf("took %v", took)
	}
	lock.Unlock()
	other.Wait()
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(b)
}

func TestListenOnABusyPortNamesTheAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	_, err = Listen(taken.Addr().String(), sources(), zap.NewNop())
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("got %v, want the address and that it is in use", err)
	}
}

func TestRunEndsThoughAClientNeverReads(t *testing.T) {
	release := make(chan struct{})
	s := sources()
	asked := make(chan struct{})
	s.State = func() any { close(asked); <-release; return nil }
	server, err := Listen("127.0.0.1:0", s, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	var client sync.WaitGroup
	client.Go(func() {
		if resp, err := http.Get("http://" + server.Addr().String() + "/debug/state"); err == nil {
			_ = resp.Body.Close()
		}
	})
	<-asked
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v, want the context's error", err)
	}
	close(release)
	client.Wait()
}

func TestRunReturnsWhatEndedTheServer(t *testing.T) {
	server, err := Listen("127.0.0.1:0", sources(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	_ = server.listener.Close()
	if err := server.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want that the listener is closed", err)
	}
}
