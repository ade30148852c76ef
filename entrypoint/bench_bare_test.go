package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
)

// A barebone moves the same bytes as comfyvisor over the same sockets with the
// least code, and is the floor that comfyvisor is measured against. It checks
// nothing, gives up at nothing, and keeps whole results in memory.
type barebone struct {
	*stand
	http *http.Client
	wait sync.Map // prompt id to a channel that is closed at its end
}

// bare puts a barebone with so many prompts at once between the queue and the
// ComfyUI of a stand.
func bare(s *stand, lanes int) *stand {
	s.tb.Helper()
	m := &barebone{stand: s, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}}
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+s.comfy.Addr+"/ws?clientId=bare", nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { m.listen(conn) })
	for range lanes {
		parts.Go(func() { m.lane(ctx) })
	}
	s.tb.Cleanup(func() {
		stop()
		conn.Close()
		parts.Wait()
		m.http.CloseIdleConnections()
	})
	return s
}

// listen reads events until the socket closes.
func (m *barebone) listen(conn *websocket.Conn) {
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return
		}
		var event struct {
			Type string
			Data struct {
				Node *string
				ID   string `json:"prompt_id"`
			}
		}
		if json.Unmarshal(frame, &event) != nil || event.Type != "executing" || event.Data.Node != nil {
			continue
		}
		if ended, ok := m.wait.Load(event.Data.ID); ok {
			close(ended.(chan struct{}))
		}
	}
}

// lane does one job after another, and delivers beside the next.
func (m *barebone) lane(ctx context.Context) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	for ctx.Err() == nil {
		var job struct {
			ID    string
			Input struct{ Workflow json.RawMessage }
		}
		if json.Unmarshal(m.send(ctx, http.MethodGet, m.queue.URL+"/job-take/bare", "", nil), &job) != nil {
			return
		}
		prompt, ended := comfy.PromptID(job.ID, 1), make(chan struct{})
		m.wait.Store(prompt, ended)
		workflow := strings.Replace(string(job.Input.Workflow), prefix, prompt+"/x", 1)
		m.send(ctx, http.MethodPost, m.comfy.URL+"/prompt", "",
			[]byte(fmt.Sprintf(`{"prompt":%s,"client_id":"bare","prompt_id":%q}`, workflow, prompt)))
		<-ended
		history := m.send(ctx, http.MethodGet, m.comfy.URL+"/history/"+prompt, "", nil)
		deliveries.Go(func() { m.deliver(ctx, job.ID, prompt, history) })
	}
}

// deliver posts a job's files, and removes them.
func (m *barebone) deliver(ctx context.Context, job, prompt string, history []byte) {
	var entries map[string]struct {
		Outputs map[string]struct {
			Images []struct{ Filename, Subfolder string }
		}
	}
	if err := json.Unmarshal(history, &entries); err != nil {
		m.tb.Errorf("history: %v", err)
	}
	body := []byte(`{"output":{"images":[`)
	for _, node := range entries[prompt].Outputs {
		for _, image := range node.Images {
			file, err := os.ReadFile(filepath.Join(m.comfy.OutputDir(), image.Subfolder, image.Filename))
			if err != nil {
				m.tb.Error(err)
			}
			body = base64.StdEncoding.AppendEncode(append(body, `{"data":"`...), file)
			body = append(body, `"},`...)
		}
	}
	body = append(bytes.TrimSuffix(body, []byte(",")), `]}}`...)
	m.send(ctx, http.MethodPost, m.queue.URL+"/job-done/bare/"+url.PathEscape(job), job, body)
	os.RemoveAll(filepath.Join(m.comfy.OutputDir(), prompt))
}

// send returns the answer, nil if there is none any more.
func (m *barebone) send(ctx context.Context, method, url, job string, body []byte) []byte {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		m.tb.Error(err)
		return nil
	}
	req.Header.Set("X-Request-ID", job)
	resp, err := m.http.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body) // a torn one does not parse
	return answer
}
