package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
)

// chatter is how many events a prompt is told of.
const chatter = 20_000

// events measures how fast the events of one prompt are read and understood,
// against a reader that only counts them.
func events(b *testing.B) []figure {
	addr, other := newChatterbox(b), newChatterbox(b)
	client := comfy.New(comfy.Config{Addr: addr}, nil)
	defer client.Close()
	var rates, most []float64
	for n := 1; b.Loop(); n++ {
		began := time.Now()
		if _, err := client.Run(b.Context(), comfy.Prompt{ID: comfy.PromptID("chatter", n), Workflow: []byte(`{}`)}, nil); err != nil {
			b.Fatal(err)
		}
		rates = append(rates, chatter/time.Since(began).Seconds())
		most = append(most, countFrames(b, other, n))
	}
	return []figure{{of: "median", unit: "events/s", ours: median(rates), floor: median(most)}}
}

// countFrames is how many frames a second a reader gets that ignores them. It is the
// n-th.
func countFrames(b *testing.B, addr string, n int) float64 {
	b.Helper()
	conn, _, err := websocket.DefaultDialer.Dial(fmt.Sprintf("ws://%s/ws?clientId=%d", addr, n), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	resp, err := http.Post("http://"+addr+"/prompt", "application/json", strings.NewReader(fmt.Sprintf(`{"prompt_id":"x","client_id":"%d"}`, n)))
	if err != nil {
		b.Fatal(err)
	}
	resp.Body.Close()
	for range chatter + 1 {
		if _, _, err := conn.ReadMessage(); err != nil {
			b.Fatal(err)
		}
	}
	return chatter / time.Since(began).Seconds()
}

// A chatterbox is a ComfyUI of one trick: it tells the newest socket of a client of the
// progress of each prompt, and that the prompt has ended.
type chatterbox struct {
	tb      testing.TB
	mu      sync.Mutex
	sockets map[string]chan *websocket.Conn // of each client: the newest, unless it is in use
}

// newChatterbox is the address of a chatterbox.
func newChatterbox(b *testing.B) (addr string) {
	b.Helper()
	c := &chatterbox{tb: b, sockets: make(map[string]chan *websocket.Conn)}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", c.open)
	mux.HandleFunc("POST /prompt", c.prompt)
	mux.HandleFunc("GET /history/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{%q:{"outputs":{},"status":{"status_str":"success","completed":true,"messages":[]}}}`, r.PathValue("id"))
	})
	server := httptest.NewServer(mux)
	b.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// socket is the place of a client's socket. Whoever opens one may be here after the
// first prompt for it.
func (c *chatterbox) socket(client string) chan *websocket.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sockets[client] == nil {
		c.sockets[client] = make(chan *websocket.Conn, 1)
	}
	return c.sockets[client]
}

// open takes the place of the client's last socket.
func (c *chatterbox) open(w http.ResponseWriter, r *http.Request) {
	conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		c.tb.Error(err)
		return
	}
	place := c.socket(r.URL.Query().Get("clientId"))
	for {
		select {
		case place <- conn:
			return
		case <-place:
		}
	}
}

func (c *chatterbox) prompt(w http.ResponseWriter, r *http.Request) {
	var prompt struct {
		ID     string `json:"prompt_id"`
		Client string `json:"client_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&prompt); err != nil {
		c.tb.Error(err)
	}
	place := c.socket(prompt.Client)
	var conn *websocket.Conn
	select {
	case conn = <-place:
	case <-r.Context().Done(): // nobody waits any more
		return
	}
	fmt.Fprintf(w, `{"prompt_id":%q,"number":1,"node_errors":{}}`, prompt.ID)
	w.(http.Flusher).Flush()
	c.tell(conn, prompt.ID)
	select {
	case place <- conn:
	default: // there is a newer one
	}
}

func (c *chatterbox) tell(conn *websocket.Conn, id string) {
	_ = conn.SetWriteDeadline(time.Now().Add(patience)) // it never fails
	progress := fmt.Appendf(nil, `{"type": "progress", "data": {"value": 7, "max": 20, "prompt_id": %q, "node": "3"}}`, id)
	end := fmt.Appendf(nil, `{"type": "executing", "data": {"node": null, "prompt_id": %q}}`, id)
	for range chatter {
		if err := conn.WriteMessage(websocket.TextMessage, progress); err != nil {
			c.tb.Error(err)
			return
		}
	}
	if err := conn.WriteMessage(websocket.TextMessage, end); err != nil {
		c.tb.Error(err)
	}
}
