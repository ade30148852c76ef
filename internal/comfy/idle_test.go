package comfy

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

var idleCloses = flag.Int("idle.closes", 64, "how often an idle connection is closed at the moment of a question")

// ComfyUI closes each idle connection at about the moment at which the next
// question, or the next prompt, is sent on it: no prompt is lost and none is
// executed twice, however often the two meet.
func TestFault_H14_IdleClosesExecuteEachPromptOnce(t *testing.T) {
	const sides = 8 // which mostly wait for the end of a doubt
	var all sync.WaitGroup
	for side := range sides {
		sim := comfytest.New(comfytest.Config{Dir: t.TempDir()})
		t.Cleanup(sim.Close)
		all.Go(func() { meetIdleCloses(t, sim, side, int64(*idleCloses/sides)) })
	}
	all.Wait()
}

// meetIdleCloses runs prompts until so many closes have met a question.
func meetIdleCloses(t *testing.T, sim *comfytest.Comfy, side int, want int64) {
	server := httptest.NewUnstartedServer(sim)
	closer := &idleCloser{idle: make(map[net.Conn]*time.Timer)}
	server.Config.ConnState = closer.state
	server.Start()
	defer server.Close()
	var met atomic.Int64
	c := New(Config{Addr: strings.TrimPrefix(server.URL, "http://"), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &asking{Conn: conn, met: &met}, nil
	}}, nil)
	defer c.Close()

	runs := 0
	for ; met.Load() < want; runs++ {
		if _, err := c.Run(t.Context(), Prompt{ID: PromptID(fmt.Sprint("side-", side), runs), Workflow: []byte(pictureWorkflow)}, nil); err != nil {
			t.Errorf("run %d, after %d closes that met a question: %v", runs, met.Load(), err)
			return
		}
	}
	seen := make(map[string]bool)
	for _, e := range sim.Executions() {
		if seen[e.PromptID] || e.Outcome != comfytest.Success {
			t.Errorf("prompt %s: again %t, %s", e.PromptID, seen[e.PromptID], e.Outcome)
		}
		seen[e.PromptID] = true
	}
	if len(seen) != runs {
		t.Errorf("%d prompts were executed, want %d", len(seen), runs)
	}
	t.Logf("%d of %d closes met a question, in %d runs", met.Load(), closer.closes.Load(), runs)
}

// An idleCloser closes connections a random moment after they become idle, if
// they still are.
type idleCloser struct {
	closes atomic.Int64

	mu   sync.Mutex
	idle map[net.Conn]*time.Timer
}

func (c *idleCloser) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if timer := c.idle[conn]; timer != nil {
		timer.Stop()
		delete(c.idle, conn)
	}
	if state != http.StateIdle {
		return
	}
	c.idle[conn] = time.AfterFunc(rand.N(2*time.Millisecond), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.idle[conn] != nil {
			c.closes.Add(1)
			conn.Close()
		}
	})
}

// asking is a connection that tells when it ends between a question and the
// first byte of the answer.
type asking struct {
	net.Conn
	met     *atomic.Int64
	waiting atomic.Bool
}

func (a *asking) Write(p []byte) (int, error) {
	a.waiting.Store(true)
	n, err := a.Conn.Write(p)
	if err != nil && a.waiting.Swap(false) {
		a.met.Add(1)
	}
	return n, err
}

func (a *asking) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if a.waiting.Swap(false) && n == 0 && err != nil {
		a.met.Add(1)
	}
	return n, err
}
