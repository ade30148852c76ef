package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
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
		most = append(most, countFrames(b, other))
	}
	return []figure{{of: "median", unit: "events/s", ours: median(rates), floor: median(most)}}
}

// countFrames is how many frames a second a reader gets that ignores them.
func countFrames(b *testing.B, addr string) float64 {
	b.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/ws", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	resp, err := http.Post("http://"+addr+"/prompt", "application/json", strings.NewReader(`{"prompt_id":"x"}`))
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

// newChatterbox is the address of a ComfyUI of one trick: it tells the newest
// socket of the progress of each prompt, and that the prompt has ended.
func newChatterbox(b *testing.B) (addr string) {
	b.Helper()
	sockets := make(chan *websocket.Conn, 1)
	tell := func(conn *websocket.Conn, id string) {
		write := func(frame string) {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
				b.Error(err)
			}
		}
		progress := fmt.Sprintf(`{"type": "progress", "data": {"value": 7, "max": 20, "prompt_id": %q, "node": "3"}}`, id)
		for range chatter {
			write(progress)
		}
		write(fmt.Sprintf(`{"type": "executing", "data": {"node": null, "prompt_id": %q}}`, id))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			b.Error(err)
			return
		}
		select {
		case <-sockets: // of a reader that has gone
		default:
		}
		sockets <- conn
	})
	mux.HandleFunc("POST /prompt", func(w http.ResponseWriter, r *http.Request) {
		var prompt struct {
			ID string `json:"prompt_id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&prompt); err != nil {
			b.Error(err)
		}
		conn := <-sockets
		fmt.Fprintf(w, `{"prompt_id":%q,"number":1,"node_errors":{}}`, prompt.ID)
		w.(http.Flusher).Flush()
		tell(conn, prompt.ID)
		sockets <- conn
	})
	mux.HandleFunc("GET /history/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{%q:{"outputs":{},"status":{"status_str":"success","completed":true,"messages":[]}}}`, r.PathValue("id"))
	})
	server := httptest.NewServer(mux)
	b.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
