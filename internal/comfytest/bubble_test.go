package comfytest_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/gorilla/websocket"
)

// A pipeListener hands out the server ends of in-memory connections.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8188} }

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// inBubble runs a test against a simulated ComfyUI in virtual time.
func inBubble(t *testing.T, cfg comfytest.Config, test func(t *testing.T, s *comfytest.Server, l *pipeListener, web *http.Client)) {
	cfg.Dir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := comfytest.Serve(l, cfg)
		defer s.Close()
		transport := &http.Transport{DialContext: l.dial}
		defer transport.CloseIdleConnections()
		test(t, s, l, &http.Client{Transport: transport})
	})
}

// connect opens a WebSocket in memory.
func (l *pipeListener) connect(t *testing.T, id string) *websocket.Conn {
	dialer := websocket.Dialer{NetDialContext: l.dial}
	ws, res, err := dialer.Dial("ws://comfy/ws?clientId="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return ws
}

func post(t *testing.T, web *http.Client, workflow string) {
	res, err := web.Post("http://comfy/prompt", "application/json", strings.NewReader(`{"client_id":"A","prompt":`+workflow+`}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// A sampler that takes an hour is over at once in virtual time, and nothing
// is left behind.
func TestRunsInVirtualTime(t *testing.T) {
	inBubble(t, comfytest.Config{StepDelay: 15 * time.Minute}, func(t *testing.T, _ *comfytest.Server, l *pipeListener, web *http.Client) {
		ws := l.connect(t, "A")
		defer ws.Close()
		began := time.Now()
		post(t, web, sdxl)
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), `"node": null`) {
				break
			}
		}
		if took := time.Since(began); took != time.Hour {
			t.Errorf("four steps took %v, want 1h", took)
		}
	})
}

// A socket that is not read stops the messages of everybody, not the work.
func TestUnreadSocketStallsAll(t *testing.T) {
	inBubble(t, comfytest.Config{}, func(t *testing.T, s *comfytest.Server, l *pipeListener, web *http.Client) {
		owner := l.connect(t, "A")
		defer owner.Close()
		var mu sync.Mutex
		var got []string
		go func() {
			for {
				_, data, err := owner.ReadMessage()
				if err != nil {
					return
				}
				mu.Lock()
				got = append(got, string(data))
				mu.Unlock()
			}
		}()
		deaf := l.connect(t, "B")
		if _, _, err := deaf.ReadMessage(); err != nil { // the greeting, and nothing more
			t.Fatal(err)
		}
		post(t, web, oneImage)
		<-time.After(time.Minute)
		synctest.Wait()
		ended := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(got[len(got)-1], `"node": null`)
		}
		if e := s.Executions(); len(e) != 1 || e[0].Outcome != comfytest.Success || ended() {
			t.Errorf("after a minute: executions %v, end marker %v", e, ended())
		}
		deaf.Close()
		synctest.Wait()
		if !ended() {
			t.Error("the messages did not go on when the unread socket was gone")
		}
	})
}
