package main

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

var home = netip.MustParseAddr("127.0.0.1")

// behind returns a queue, and a bridge to it on the loopback interface. A job
// that it hands out on a connection just cut is soon handed out again.
func behind(t *testing.T) (*runpodtest.Server, *bridge) {
	t.Helper()
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: queueKey, Hold: time.Minute, Lease: 5 * time.Second})
	return q, newBridge(t, "127.0.0.1:0", strings.TrimPrefix(q.URL, "http://"))
}

// atName starts comfyvisor at a queue that has a name.
func atName(t *testing.T, names *nameserver, q *runpodtest.Server, front *bridge) *program {
	t.Helper()
	return mounted(t, names.mount(t), named(q.Env(), front.to, "queue.test:"+front.port()))
}

// threads is how many threads a process has.
func threads(t *testing.T, p *program) int {
	t.Helper()
	list, err := os.ReadDir("/proc/" + procNumber(p) + "/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// While the nameserver is silent or fails, ComfyUI is started and watched as ever and no threads pile up; when it answers again, so does the queue.
func TestFault_T2_NameserverIsSilentOrFails(t *testing.T) {
	t.Parallel()
	names := newNameserver(t)
	q, front := behind(t)
	q.Submit("a", picture(1))
	p := atName(t, names, q, front)
	p.waitReady()
	before := threads(t, p)
	names.waitAsked(t, 3) // two at a time, 2 s apart
	var health any
	if code := p.get(p.status+"/healthz", &health); code != http.StatusOK {
		t.Errorf("/healthz answers %d %v", code, health)
	}
	names.behave(servfail)
	names.waitAsked(t, 4)
	if now := threads(t, p); now > before+8 {
		t.Errorf("%d threads, %d before", now, before)
	}
	names.behave(answered, home)
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Errorf("job a: %+v", o)
	}
}

// When the queue moves to another address, the next try after a broken connection finds it there.
func TestFault_T3_QueueMoves(t *testing.T) {
	t.Parallel()
	names := newNameserver(t)
	names.behave(answered, home)
	q, front := behind(t)
	p := atName(t, names, q, front)
	q.Submit("a", picture(1))
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Fatalf("job a: %+v", o)
	}
	moved := newBridge(t, "127.0.0.2:"+front.port(), front.to)
	names.behave(answered, netip.MustParseAddr("127.0.0.2"))
	front.close()
	q.Submit("b", picture(2))
	if o := ends(t, q, "b"); o.Status != runpodtest.Completed {
		t.Errorf("job b: %+v", o)
	}
	if moved.taken() == 0 {
		t.Error("nobody came to the new address")
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code = %d, want %d", code, exitDone)
	}
}

// hole makes a port of ::1 drop every connection, as an IPv6 route that leads nowhere does.
func hole(t *testing.T, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: port, Addr: netip.IPv6Loopback().As16()}); err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port)).String()
	for range 10 { // until its backlog, which nobody takes from, is full
		conn, err := net.DialTimeout("tcp", at, 500*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatalf("%s takes connections", at)
}

// A queue whose IPv6 address leads nowhere is reached by its IPv4 address within moments.
func TestFault_T4_IPv6LeadsNowhere(t *testing.T) {
	t.Parallel()
	names := newNameserver(t)
	names.behave(answered, netip.IPv6Loopback(), home)
	q, front := behind(t)
	hole(t, front.l.Addr().(*net.TCPAddr).Port)
	q.Submit("a", picture(1))
	p := atName(t, names, q, front)
	p.waitReady()
	begun := time.Now()
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Errorf("job a: %+v", o)
	}
	if took := time.Since(begun); took > oneAfterAnother {
		t.Errorf("it took %v, as if the addresses were tried one after another", took)
	}

	// The twin: without a second attempt beside the first, there is no connection.
	ask := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, netip.AddrPortFrom(names.addr, 53).String())
	}}
	patient := net.Dialer{FallbackDelay: -1, Resolver: ask, Timeout: 2 * time.Second}
	begun = time.Now()
	if conn, err := patient.Dial("tcp", "queue.test:"+front.port()); err == nil {
		conn.Close()
		if took := time.Since(begun); took < 500*time.Millisecond {
			t.Errorf("the IPv6 address was no hole: connected to %v after %v", conn.RemoteAddr(), took)
		}
	}
}

// oneAfterAnother is how long the IPv6 address alone would be tried: half of the
// 30 s for a connection, less what a slow machine may need.
const oneAfterAnother = 12 * time.Second

// A proxy passes requests on to the servers behind names, and remembers the names.
type proxy struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]int
}

func newProxy(t *testing.T, behind map[string]string) *proxy {
	t.Helper()
	p := &proxy{seen: make(map[string]int)}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		return new(net.Dialer).DialContext(ctx, network, behind[host])
	}}
	pass := &httputil.ReverseProxy{
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host },
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.seen[r.URL.Hostname()]++
		p.mu.Unlock()
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { p.CloseClientConnections(); p.Close(); transport.CloseIdleConnections() })
	return p
}

// The queue and S3 are reached through the proxy that the environment names, ComfyUI never is.
func TestFault_T6_ProxyForQueueAndStoreAlone(t *testing.T) {
	t.Parallel()
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: queueKey, Hold: time.Minute})
	gateway := s3test.Start(t)
	queueAddr := strings.TrimPrefix(q.URL, "http://")
	via := newProxy(t, map[string]string{"queue.test": queueAddr, "s3.test": gateway.Addr})
	env := with(named(q.Env(), queueAddr, "queue.test"), bucket(gateway)...)
	env = with(named(env, gateway.Addr, "s3.test"), "HTTP_PROXY", via.URL, "HTTPS_PROXY", via.URL)
	p := start(t, options{env: env})
	q.Submit("a", picture(1))
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed || !strings.Contains(string(o.Output), "http://s3.test/") {
		t.Errorf("job a: %+v", o)
	}
	p.signal(syscall.SIGTERM)
	p.exit()
	via.mu.Lock()
	defer via.mu.Unlock()
	if len(via.seen) != 2 || via.seen["queue.test"] == 0 || via.seen["s3.test"] == 0 {
		t.Errorf("the proxy saw %v, want queue.test and s3.test alone", via.seen)
	}
}
