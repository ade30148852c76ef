package comfytest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/gorilla/websocket"
)

// A message is one text message, or a binary one with its bytes only.
type message struct {
	Type   string         `json:"type"`
	Data   map[string]any `json:"data"`
	Binary []byte         `json:"-"`
}

// bareNaN is what strict parsers refuse.
var bareNaN = regexp.MustCompile(`\bNaN\b`)

// A client talks to a simulated ComfyUI as any client would.
type client struct {
	t   testing.TB
	url string
	ws  *websocket.Conn
}

func newClient(t testing.TB, url string) *client { return &client{t: t, url: url} }

// connect opens the WebSocket of a client id.
func (c *client) connect(id string) *client {
	c.t.Helper()
	ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(c.url, "http")+"/ws?clientId="+id, nil)
	if err != nil {
		c.t.Fatalf("dial: %v", err)
	}
	res.Body.Close()
	c.t.Cleanup(func() { ws.Close() })
	return &client{c.t, c.url, ws}
}

// next reads one message.
func (c *client) next() message {
	c.t.Helper()
	m, err := c.read(10 * time.Second)
	if err != nil {
		c.t.Fatalf("read message: %v", err)
	}
	return m
}

func (c *client) read(patience time.Duration) (message, error) {
	_ = c.ws.SetReadDeadline(time.Now().Add(patience))
	kind, data, err := c.ws.ReadMessage()
	if err != nil {
		return message{}, err
	}
	if kind == websocket.BinaryMessage {
		return message{Type: "binary", Binary: data}, nil
	}
	var m message
	return m, json.Unmarshal(bareNaN.ReplaceAll(data, []byte(`"NaN"`)), &m)
}

// until reads messages up to the first that stop accepts.
func (c *client) until(stop func(message) bool) []message {
	c.t.Helper()
	var all []message
	for {
		m := c.next()
		all = append(all, m)
		if stop(m) {
			return all
		}
	}
}

// untilEnd reads up to the end marker of a prompt.
func (c *client) untilEnd(id string) []message {
	c.t.Helper()
	return c.until(func(m message) bool {
		return m.Type == "executing" && m.Data["node"] == nil && m.Data["prompt_id"] == id
	})
}

// do sends a request and returns the status and the body.
func (c *client) do(method, path string, body any) (int, string) {
	c.t.Helper()
	status, text, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, text
}

func (c *client) try(method, path string, body any) (int, string, error) {
	var data []byte
	switch body := body.(type) {
	case nil:
	case string:
		data = []byte(body)
	default:
		data, _ = json.Marshal(body)
	}
	req, err := http.NewRequest(method, c.url+path, bytes.NewReader(data))
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// get decodes the answer of a route.
func (c *client) get(path string) map[string]any {
	c.t.Helper()
	_, text := c.do("GET", path, nil)
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		c.t.Fatalf("GET %s: %v in %q", path, err, text)
	}
	return v
}

// prompt sends a workflow and returns its prompt id.
func (c *client) prompt(workflow string, more ...string) string {
	c.t.Helper()
	body := `{"client_id":"A","prompt":` + workflow + strings.Join(more, "") + `}`
	status, text := c.do("POST", "/prompt", body)
	var v struct {
		PromptID string `json:"prompt_id"`
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil || status != http.StatusOK {
		c.t.Fatalf("POST /prompt: %d %s", status, text)
	}
	return v.PromptID
}

// await waits until the ledger satisfies done.
func await(t testing.TB, s *comfytest.Server, done func() bool) {
	t.Helper()
	patience := time.After(20 * time.Second)
	for {
		changed := s.Changed()
		if done() {
			return
		}
		select {
		case <-changed:
		case <-patience:
			t.Fatal("the awaited state never came")
		}
	}
}

func types(all []message) []string {
	var names []string
	for _, m := range all {
		names = append(names, m.Type)
	}
	return names
}
