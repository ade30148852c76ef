package localapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// dial opens a connection on which a test speaks HTTP by hand.
func (a *api) dial() net.Conn {
	a.t.Helper()
	c, err := net.Dial("tcp", a.conns.Addr().String())
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	return c
}

// dialInMemory is dial for a server without sockets.
func (a *api) dialInMemory() net.Conn {
	a.t.Helper()
	c, err := a.client.Transport.(*http.Transport).DialContext(a.t.Context(), "", "")
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { c.Close() })
	return c
}

func (a *api) openConns() int {
	a.conns.mu.Lock()
	defer a.conns.mu.Unlock()
	return a.conns.open
}

// waitingConns counts the connections on which the server waits for the client.
func (a *api) waitingConns() int {
	a.conns.mu.Lock()
	defer a.conns.mu.Unlock()
	return a.conns.waiting.Len()
}

// head is the beginning of a request with n bytes of body.
func head(n int64, header ...string) string {
	return fmt.Sprintf("POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n", n, strings.Join(append(header, ""), "\r\n"))
}

func readAnswer(t *testing.T, c net.Conn) answer {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return answer{resp.StatusCode, resp.Header, text}
}

// TestFault_A1_SlowClientsDoNotLockOthersOut: a thousand connections that send
// their requests byte by byte hold at most 256 places, and a new client is
// answered at once, long before the slow ones are timed out.
func TestFault_A1_SlowClientsDoNotLockOthersOut(t *testing.T) {
	a := serve(t, Config{HeaderTimeout: time.Hour, IdleTimeout: time.Hour})
	for i := range 1000 {
		begin := "POST /run HTTP/1.1\r\nHo"
		if i%2 == 0 {
			begin = head(1000) + "{"
		}
		if _, err := io.WriteString(a.dial(), begin); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	a.want(http.StatusOK, "GET", "/health", "")
	if waited := time.Since(begun); waited > 5*time.Second {
		t.Errorf("another client waited %v", waited)
	}
	if n := a.openConns(); n > 256 {
		t.Errorf("%d connections are open, want 256 at most", n)
	}
}

// TestFault_A1_ExcessIsClosedWhileAllWait: clients that wait for an answer keep
// their connections, and one client more than allowed is closed at once.
func TestFault_A1_ExcessIsClosedWhileAllWait(t *testing.T) {
	a := serve(t, Config{MaxConns: 2})
	first := a.inBackground("POST", "/runsync", someJob)
	one := a.takeOne()
	second := a.inBackground("POST", "/runsync", someJob)
	two := a.takeOne()

	if n, err := a.dial().Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read from the third connection = %d, %v, want it closed", n, err)
	}
	a.done(image(one.ID, 1))
	a.done(image(two.ID, 1))
	for _, later := range []<-chan answer{first, second} {
		if got := (<-later).job(t); got.Status != completed {
			t.Errorf("waiting client got %s, want COMPLETED", got.Status)
		}
	}
	a.stateOf(one.ID) // the places are free again
}

func TestIdleConnectionMakesRoom(t *testing.T) {
	a := serve(t, Config{MaxConns: 1})
	idle := a.dial()
	if _, err := io.WriteString(idle, "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	readAnswer(t, idle)
	for a.waitingConns() == 0 {
		runtime.Gosched()
	}
	a.want(http.StatusOK, "GET", "/health", "")
	if n, err := idle.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read from the idle connection = %d, %v, want it closed", n, err)
	}
}

// TestFault_A1_SlowRequestsAreTimedOut: a header has to be complete in 5 s, and
// a body may pause for 10 s.
func TestFault_A1_SlowRequestsAreTimedOut(t *testing.T) {
	tests := []struct {
		name, send string
		want       time.Duration
		code       int // 0: the connection is closed without an answer
	}{
		{"nothing", "", 5 * time.Second, 0},
		{"part of a header", "POST /run HTTP/1.1\r\nHo", 5 * time.Second, 0},
		{"part of a body", head(1000) + "{", 10 * time.Second, http.StatusRequestTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := serveInMemory(t, Config{})
				c := a.dialInMemory()
				begun := time.Now()
				if _, err := io.WriteString(c, tt.send); err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(c)
				if waited := time.Since(begun).Round(time.Second); waited != tt.want {
					t.Errorf("closed after %v, want %v", waited, tt.want)
				}
				if status := fmt.Sprintf("HTTP/1.1 %d ", tt.code); tt.code != 0 && !strings.HasPrefix(string(text), status) {
					t.Errorf("answer = %q, want %q", text, status)
				}
			})
		})
	}
}

// TestFault_A1_BodyThatNobodyReadsDelaysLittle: a client that announces a body
// and does not send it is answered all the same, after 1 s, when the request
// needs no body.
func TestFault_A1_BodyThatNobodyReadsDelaysLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{})
		id := a.submitJob()
		a.takeOne()
		a.done(image(id, megabyte))
		for _, path := range []string{"/status/" + id, "/purge-queue"} {
			c := a.dialInMemory()
			begun := time.Now()
			if _, err := io.WriteString(c, strings.Replace(head(1000), "/run", path, 1)); err != nil {
				t.Fatal(err)
			}
			if got := readAnswer(t, c); got.code != http.StatusOK || time.Since(begun) != drainTimeout {
				t.Errorf("%s = %d after %v, want 200 after %v", path, got.code, time.Since(begun), drainTimeout)
			}
		}
	})
}

// TestFault_A1_ClientThatDoesNotReadIsCut: a client that takes nothing of its
// answer for 10 s loses its connection.
func TestFault_A1_ClientThatDoesNotReadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{})
		id := a.submitJob()
		a.takeOne()
		a.done(image(id, megabyte))
		c := a.dialInMemory()
		synctest.Wait()
		before := a.openConns()
		if _, err := fmt.Fprintf(c, "GET /status/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Second - time.Millisecond)
		if n := a.openConns(); n != before {
			t.Errorf("%d connections are open before the time is over, want %d", n, before)
		}
		time.Sleep(2 * time.Millisecond)
		if n := a.openConns(); n != before-1 {
			t.Errorf("%d connections are open after it, want %d", n, before-1)
		}
	})
}

func TestConnectionIsUsedAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{Ready: func() error { return errors.New("booting") }})
		c := a.dialInMemory()
		for _, path := range []string{"/health", "/ping", "/health"} {
			go fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
			if got := readAnswer(t, c); got.code >= 300 {
				t.Errorf("%s = %d", path, got.code)
			}
			time.Sleep(keepAlive - time.Second) // longer than every deadline of the answer
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("read = %d, %v, want the connection closed after its last pause", n, err)
		}
	})
}

// TestFault_A2_DisconnectDoesNotCancel: when the client of runsync goes away
// its job goes on, and its result is found by the id; only a cancel frees the
// worker.
func TestFault_A2_DisconnectDoesNotCancel(t *testing.T) {
	a := serve(t, Config{})
	before := a.dial()
	body := someJob
	if _, err := io.WriteString(before, strings.Replace(head(int64(len(body))), "/run", "/runsync", 1)+body); err != nil {
		t.Fatal(err)
	}
	j := a.takeOne()
	before.Close()
	for a.openConns() > 0 { // until the server has seen it
		runtime.Gosched()
	}
	select {
	case <-j.Canceled:
		t.Fatal("the job was cancelled")
	default:
	}
	a.done(image(j.ID, 1))
	if got := a.stateOf(j.ID); got != completed {
		t.Errorf("state = %s, want COMPLETED", got)
	}

	id := a.submitJob()
	j = a.takeOne()
	a.want(http.StatusOK, "POST", "/cancel/"+id, "")
	<-j.Canceled
}

// TestFault_A3_FullQueueRefuses: the queue holds 100 jobs; all others are
// answered 429 with Retry-After, and leave nothing in memory.
func TestFault_A3_FullQueueRefuses(t *testing.T) {
	const clients, posts = 8, 125
	a := serve(t, Config{})
	body := `{"input":"` + strings.Repeat("x", 20*kilobyte) + `"}`
	var accepted, refused atomic.Int64
	before := heap()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range posts {
				got, err := a.try("POST", "/run", body)
				switch {
				case err != nil:
					t.Error(err)
				case got.code == http.StatusOK:
					accepted.Add(1)
				case got.code == http.StatusTooManyRequests && got.header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					t.Errorf("answer %d %s", got.code, got.body)
				}
			}
		})
	}
	all.Wait()
	if accepted.Load() != 100 || refused.Load() != clients*posts-100 {
		t.Errorf("accepted %d, refused %d, want 100 and all others", accepted.Load(), refused.Load())
	}
	if grown := heap() - before; grown > 20*megabyte {
		t.Errorf("memory grew by %d KB for a queue of 2,000 KB", grown/kilobyte)
	}
}

// heap is the memory in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFault_A3_InputsAreBounded: few large inputs fill the queue like many
// small ones, and the place is free again when their jobs have ended.
func TestFault_A3_InputsAreBounded(t *testing.T) {
	a := serve(t, Config{MaxInputs: 300 * kilobyte})
	large := `{"input":"` + strings.Repeat("x", 100*kilobyte) + `"}`
	first := a.want(http.StatusOK, "POST", "/run", large).job(t).ID
	a.want(http.StatusOK, "POST", "/run", large)
	a.want(http.StatusTooManyRequests, "POST", "/run", large)
	a.want(http.StatusOK, "POST", "/cancel/"+first, "")
	a.want(http.StatusOK, "POST", "/run", large)
}

// counted is a listener that counts what its connections read.
type counted struct {
	net.Listener
	bytes atomic.Int64
}

type countedConn struct {
	*net.TCPConn
	bytes *atomic.Int64
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{conn.(*net.TCPConn), &c.bytes}, nil
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// TestFault_A4_OversizedBodyIsNotReadOn: a body over the cap is answered 413,
// and no more of it is read than the cap and 64 KB.
func TestFault_A4_OversizedBodyIsNotReadOn(t *testing.T) {
	const limit = megabyte
	chunked := "POST /run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
	piece := strings.Repeat("x", 16*kilobyte)
	tests := []struct {
		name, head, piece string
		read              int64
	}{
		{"length told", head(1 << 40), piece, 64 * kilobyte},
		{"chunked without end", chunked, fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece), limit + 64*kilobyte},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inner, err := Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := &counted{Listener: inner}
			a := start(t, Config{MaxBody: limit}, l, "", &http.Transport{})
			c := a.dial()
			var sender sync.WaitGroup
			sender.Go(func() {
				_, err := io.WriteString(c, tt.head)
				for err == nil {
					_, err = io.WriteString(c, tt.piece)
				}
			})
			if got := readAnswer(t, c); got.code != http.StatusRequestEntityTooLarge {
				t.Errorf("answer = %d %s, want 413", got.code, got.body)
			}
			_ = a.stop()
			sender.Wait()
			if n := l.bytes.Load(); n > tt.read {
				t.Errorf("read %d bytes, want %d at most", n, tt.read)
			}
		})
	}
}

// TestFault_A4_OddBodiesAreRefused: wrong lengths, encodings and clients that
// ask before they send get an answer that says what is wrong.
func TestFault_A4_OddBodiesAreRefused(t *testing.T) {
	tests := []struct {
		name, send string
		code       int
	}{
		{"less than told", head(1000) + "{", http.StatusBadRequest},
		{"gzip", head(2, "Content-Encoding: gzip") + "{}", http.StatusUnsupportedMediaType},
		{"gzip in chunks", "POST /run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", http.StatusNotImplemented},
		{"broken chunks", "POST /run HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", http.StatusBadRequest},
		{"asks for leave to send too much", head(1<<40, "Expect: 100-continue"), http.StatusRequestEntityTooLarge},
	}
	a := serve(t, Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := a.dial()
			if _, err := io.WriteString(c, tt.send); err != nil {
				t.Fatal(err)
			}
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := readAnswer(t, c); got.code != tt.code {
				t.Errorf("answer = %d %s, want %d", got.code, got.body, tt.code)
			}
		})
	}
	a.want(http.StatusOK, "POST", "/run", someJob)
}

func TestBodyMayBeAsLargeAsTheCap(t *testing.T) {
	a := serve(t, Config{MaxBody: 500 * kilobyte})
	body := `{"input":"` + strings.Repeat("x", 500*kilobyte-12) + `"}`
	a.want(http.StatusOK, "POST", "/run", body)
	a.want(http.StatusRequestEntityTooLarge, "POST", "/run", body+" ")
}

func TestRunTellsWhenItsListenerDies(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{}, l, zaptest.NewLogger(t))
	if _, err := s.store.add("a", request{policy: policy{ttl: time.Hour}}, false); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run = %v, want %v", err, net.ErrClosed)
	}
	if n := s.store.count(); n.InQueue != 0 || n.Failed != 1 {
		t.Errorf("jobs = %+v, want the queued one failed", n)
	}
}

// TestFault_A5_AddressThatCannotBeUsed: a port in use and an address of another
// machine are told, by name and at once, before anything runs.
func TestFault_A5_AddressThatCannotBeUsed(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, addr := range []string{other.Addr().String(), "192.0.2.1:8000", "no port", "127.0.0.1:99999"} {
		l, err := Listen(addr)
		if err == nil {
			l.Close()
		}
		if !errors.Is(err, ErrListen) || !strings.Contains(err.Error(), addr) {
			t.Errorf("Listen(%q) = %v, want ErrListen with the address", addr, err)
		}
	}
}

// TestFault_A8_WaitingClientsAreAnsweredAtShutdown: each client that waits for
// a job gets an answer before its connection closes, with 503 and the cause
// when the job will never run.
func TestFault_A8_WaitingClientsAreAnsweredAtShutdown(t *testing.T) {
	a := serve(t, Config{})
	running := a.inBackground("POST", "/runsync", someJob)
	j := a.takeOne()
	queued := a.inBackground("POST", "/runsync", someJob)
	for a.store.count().InQueue == 0 {
		runtime.Gosched()
	}
	// This client is in the middle of its request: the server asks for the body.
	late := a.dial()
	if _, err := io.WriteString(late, head(int64(len(someJob)), "Expect: 100-continue")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(late, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil {
		t.Fatal(err)
	}
	a.Progress(j.ID, job.Progress{Percent: 50})
	stopped := make(chan error, 1)
	go func() { stopped <- a.stop() }()

	if got := <-running; got.code != http.StatusOK || got.job(t).Status != inProgress {
		t.Errorf("client of the running job got %d %s, want 200 IN_PROGRESS", got.code, got.body)
	}
	got := <-queued
	if got.code != http.StatusServiceUnavailable || got.job(t).Status != failed || !strings.Contains(string(got.body), `"cause":"worker_shutdown"`) {
		t.Errorf("client of the queued job got %d %s, want 503 with the cause", got.code, got.body)
	}
	if _, err := io.WriteString(late, someJob); err != nil {
		t.Fatal(err)
	}
	got = readAnswer(t, late)
	if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(string(got.body), "shutting down") {
		t.Errorf("late client got %d %s, want 503 with Retry-After", got.code, got.body)
	}
	<-stopped
}

// TestFault_A8_ShutdownIsBounded: a client that does not read its answer holds
// the stop up for the grace period and no longer.
func TestFault_A8_ShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{Grace: 2 * time.Second})
		id := a.submitJob()
		a.takeOne()
		a.done(image(id, megabyte))
		resp, err := a.client.Get(a.url + "/status/" + id)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		begun := time.Now()
		_ = a.stop()
		if waited := time.Since(begun); waited != 2*time.Second {
			t.Errorf("Run returned after %v, want 2 s", waited)
		}
	})
}

func TestResultIsTakenUntilRunReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{})
		id := a.submitJob()
		a.takeOne()
		a.dialInMemory() // and never sends anything
		go func() { _ = a.stop() }()
		synctest.Wait() // Run waits for the connection
		a.done(image(id, 1))
		if v, err := a.store.view(id); err != nil || v.state != completed {
			t.Errorf("job is %s, %v, want COMPLETED", v.state, err)
		}
	})
}
