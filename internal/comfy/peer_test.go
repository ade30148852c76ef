package comfy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	pictureWorkflow = `{"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":1,"color":255}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"job/one"}}}`
	socketWorkflow = `{"1":{"class_type":"EmptyImage","inputs":{"width":64,"height":64,"batch_size":2,"color":255}},
		"2":{"class_type":"SaveImageWebsocket","inputs":{"images":["1",0]}}}`
	samplerWorkflow = `{"1":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"sd_xl_base_1.0.safetensors"}},
		"2":{"class_type":"CLIPTextEncode","inputs":{"text":"a lighthouse at dusk","clip":["1",1]}},
		"4":{"class_type":"EmptyLatentImage","inputs":{"width":256,"height":192,"batch_size":1}},
		"5":{"class_type":"KSampler","inputs":{"model":["1",0],"positive":["2",0],"negative":["2",0],"latent_image":["4",0],"seed":7,"steps":4,"cfg":7,"sampler_name":"euler","scheduler":"normal","denoise":1}},
		"6":{"class_type":"VAEDecode","inputs":{"samples":["5",0],"vae":["1",2]}},
		"9":{"class_type":"SaveImage","inputs":{"images":["6",0],"filename_prefix":"job/x"}}}`
)

// sleepWorkflow is one node that works for a while in steps that look for an
// interrupt, or (mode sleep) in one piece.
func sleepWorkflow(d time.Duration, mode string) string {
	return fmt.Sprintf(`{"1":{"class_type":"SimSleep","inputs":{"seconds":%g,"mode":%q,"seed":%d}}}`, d.Seconds(), mode, d)
}

// A peer is a client and the simulated ComfyUI that it talks to.
type peer struct {
	*comfytest.Server
	*Client
	t    *testing.T
	next int

	mu    sync.Mutex
	wires []*wire // in the order of dialing, in a bubble
}

// inBothGenerations runs a test against the two versions whose behaviour is
// known, over real sockets.
func inBothGenerations(t *testing.T, test func(t *testing.T, p *peer)) {
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			server := comfytest.NewServer(t, comfytest.Config{Version: version, Previews: true})
			p := &peer{Server: server, t: t}
			p.Client = New(Config{Addr: server.Addr}, zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel)))
			t.Cleanup(func() { p.Client.Close() })
			test(t, p)
		})
	}
}

// inBubbles does the same in virtual time, over connections in memory.
func inBubbles(t *testing.T, faults comfytest.Faults, test func(t *testing.T, p *peer)) {
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				l := newPipeListener()
				server := comfytest.Serve(l, comfytest.Config{Version: version, Dir: dir, Previews: true, Faults: faults})
				p := &peer{Server: server, t: t}
				p.Client = New(Config{Addr: server.Addr, Dial: p.dial(l)}, zap.NewNop())
				test(t, p)
				p.Client.Close()
				p.Server.Close()
				p.cutWires()
			})
		})
	}
}

// prompt makes a prompt with an id of its own.
func (p *peer) prompt(workflow string) Prompt {
	p.next++
	return Prompt{ID: PromptID(p.t.Name(), p.next), Workflow: json.RawMessage(workflow)}
}

// finished is what a run came to.
type finished struct {
	outcome *Outcome
	err     error
	at      time.Time
}

// start runs a prompt in the background.
func (p *peer) start(ctx context.Context, prompt Prompt, tell func(Event)) <-chan finished {
	done := make(chan finished, 1)
	go func() {
		outcome, err := p.Run(ctx, prompt, tell)
		done <- finished{outcome, err, time.Now()}
	}()
	return done
}

// await waits for a state of the simulated ComfyUI.
func (p *peer) await(what string, reached func() bool) {
	p.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		changed := p.Changed()
		if reached() {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			p.t.Fatalf("waited in vain for %s; executions: %+v", what, p.Executions())
		}
	}
}

// awaitStart waits until n executions have begun and executed a node.
func (p *peer) awaitStart(n int) {
	p.t.Helper()
	p.await(fmt.Sprintf("%d executions", n), func() bool {
		all := p.Executions()
		return len(all) >= n && len(all[n-1].Nodes) > 0
	})
}

// late is how long after the end of the last execution a run has returned.
func (p *peer) late(f finished) time.Duration {
	var ended time.Time
	p.await("the end of the last execution", func() bool {
		all := p.Executions()
		ended = all[len(all)-1].Ended
		return !ended.IsZero()
	})
	return f.at.Sub(ended)
}

// collect returns a function for Run, and one that returns what it was told.
func collect() (tell func(Event), told func() []Event) {
	var mu sync.Mutex
	var events []Event
	tell = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, e)
	}
	told = func() []Event {
		mu.Lock()
		defer mu.Unlock()
		return append([]Event(nil), events...)
	}
	return tell, told
}

// has tells whether there is an event of the type E.
func has[E Event](events []Event) bool {
	for _, e := range events {
		if _, ok := e.(E); ok {
			return true
		}
	}
	return false
}

// A pipeListener hands out the far ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8188} }

// dial connects to l by a wire that the test may cut.
func (p *peer) dial(l *pipeListener) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, nearEnd := net.Pipe()
		farEnd, far := net.Pipe()
		select {
		case l.conns <- far:
		case <-l.closed:
			return nil, errors.New("connection refused")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		w := &wire{near: nearEnd, far: farEnd}
		go w.carry(farEnd, nearEnd)
		go w.carry(nearEnd, farEnd)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wires = append(p.wires, w)
		return near, nil
	}
}

// A wire carries bytes between two pipes until it is cut, with or without the
// ends being told.
type wire struct {
	near, far net.Conn
	mu        sync.Mutex
	dead      bool
}

func (w *wire) carry(from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		dead := w.dead
		w.mu.Unlock()
		if dead && err == nil {
			continue
		}
		if dead {
			return
		}
		if err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			w.Close()
			return
		}
	}
}

// Close ends both connections.
func (w *wire) Close() {
	w.near.Close()
	w.far.Close()
}

// cutWires ends all connections made so far.
func (p *peer) cutWires() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.wires {
		w.Close()
	}
}

// blackHole lets everything on the connections made so far vanish from now on,
// and tells nobody.
func (p *peer) blackHole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.wires {
		w.mu.Lock()
		w.dead = true
		w.mu.Unlock()
	}
}

func readAll(t *testing.T, c *Client, o Output) []byte {
	t.Helper()
	body, size, err := c.View(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil || int64(len(data)) != size {
		t.Fatalf("view %s: %d bytes of %d, %v", o.Filename, len(data), size, err)
	}
	return data
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
