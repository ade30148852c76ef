package comfytest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

func TestRequestFaults(t *testing.T) {
	get := func(s *comfytest.Server, path string) (int, string, error) {
		// On a connection used before, the client would try again by itself.
		once := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := once.Get(s.URL + path)
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		return res.StatusCode, string(text), err
	}
	const info = `{"exec_info": {"queue_remaining": 0}}`
	tests := []struct {
		name   string
		fault  comfytest.Fault
		status int
		text   string
		fails  bool
	}{
		{"answer", comfytest.Fault{Do: "answer", Status: 502, Type: "text/html", Body: "<html>"}, 502, "<html>", false},
		{"delay", comfytest.Fault{Delay: 20 * time.Millisecond}, 200, info, false},
		{"ran", comfytest.Fault{Do: "ran", Status: 500, Body: "x"}, 500, "x", false},
		{"lost", comfytest.Fault{Do: "lost"}, 0, "", true},
		{"reset", comfytest.Fault{Do: "reset"}, 0, "", true},
		{"drip", comfytest.Fault{Do: "drip", Bytes: 10, Delay: 5 * time.Millisecond}, 200, info, false},
		{"truncate", comfytest.Fault{Do: "truncate", After: 9}, 200, info[:9], true},
		{"unknown", comfytest.Fault{Do: "typo"}, 501, "comfytest: no fault is called \"typo\"\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.fault.On, tt.fault.Skip, tt.fault.Count = "GET /prompt", 1, 1
			s := comfytest.NewServer(t, comfytest.Config{Faults: comfytest.Faults{tt.fault}})
			for i := range 3 {
				status, text, err := get(s, "/api/prompt")
				if i != 1 {
					if status != 200 || text != info || err != nil {
						t.Errorf("request %d: %d %q %v", i, status, text, err)
					}
					continue
				}
				if status != tt.status || text != tt.text || (err != nil) != tt.fails {
					t.Errorf("got %d %q %v, want %d %q", status, text, err, tt.status, tt.text)
				}
			}
		})
	}
}

// The answer is lost and the prompt runs all the same.
func TestLostAnswerOfAPromptThatRuns(t *testing.T) {
	for _, do := range []string{"lost", "ran"} {
		s := comfytest.NewServer(t, comfytest.Config{Faults: comfytest.Faults{{On: "POST /prompt", Do: do, Count: 1}}})
		c := newClient(t, s.URL)
		status, _, err := c.try("POST", "/prompt", `{"prompt":`+oneImage+`,"prompt_id":"mine"}`)
		if status == 200 {
			t.Errorf("%s: the answer came: %v", do, err)
		}
		await(t, s, func() bool { e := s.Executions(); return len(e) == 1 && e[0].Outcome == comfytest.Success })
		if h := c.get("/history/mine"); len(h) != 1 {
			t.Errorf("%s: history %v", do, h)
		}
	}
}

func TestHangingRequestEndsWithItsClient(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{Faults: comfytest.Faults{{On: "GET /history/*", Do: "hang"}}})
	if _, err := (&http.Client{Timeout: 50 * time.Millisecond}).Get(s.URL + "/history/x"); err == nil {
		t.Error("a hanging request was answered")
	}
}

func TestSocketFaults(t *testing.T) {
	whole := []string{"status", "status", "status", "execution_start", "execution_cached", "progress_state", "executing", "progress_state",
		"progress_state", "executing", "executed", "progress_state", "execution_success", "status", "executing"}
	backwards := slices.Clone(whole[3:])
	slices.Reverse(backwards)
	tests := []struct {
		fault comfytest.Fault
		want  []string // what is read before the socket ends or falls silent
		ends  bool
	}{
		{comfytest.Fault{Do: "silent", After: 4}, whole[:4], false},
		{comfytest.Fault{Do: "cut", After: 4}, whole[:4], true},
		{comfytest.Fault{Do: "close", After: 1}, whole[:1], true},
		{comfytest.Fault{Do: "no-end"}, whole[:len(whole)-1], false},
		{comfytest.Fault{Do: "shuffle"}, append(slices.Clone(whole[:3]), backwards...), false},
		{comfytest.Fault{Do: "twice"}, doubled(whole), false},
		{comfytest.Fault{Do: "oversize", After: 3, Bytes: 1 << 20}, slices.Insert(slices.Clone(whole), 3, "custom"), false},
	}
	for _, tt := range tests {
		t.Run(tt.fault.Do, func(t *testing.T) {
			t.Parallel()
			tt.fault.On = "ws"
			s := comfytest.NewServer(t, comfytest.Config{Faults: comfytest.Faults{tt.fault}})
			c := newClient(t, s.URL).connect("A")
			// A socket that is registered while the prompt runs is told which node does.
			got := []string{c.next().Type}
			c.prompt(oneImage)
			await(t, s, func() bool { e := s.Executions(); return len(e) == 1 && e[0].Outcome == comfytest.Success })
			var last error
			for last == nil {
				var m message
				if m, last = c.read(300 * time.Millisecond); last == nil {
					got = append(got, m.Type)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if silent := strings.Contains(last.Error(), "timeout"); silent == tt.ends {
				t.Errorf("the socket ended with %v", last)
			}
		})
	}
}

func doubled(names []string) []string {
	var all []string
	for _, n := range names {
		all = append(all, n, n)
	}
	return all
}

func TestHandshakeFaults(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{Faults: comfytest.Faults{
		{On: "ws", Do: "refuse", Status: 503, Count: 1}, {On: "ws", Do: "reset", Count: 1}, {On: "ws", Do: "hang", Count: 1},
	}})
	dialer := websocket.Dialer{HandshakeTimeout: 100 * time.Millisecond}
	for i, want := range []int{503, 0, 0} {
		_, res, err := dialer.Dial("ws://"+s.Addr+"/ws", nil)
		if got := statusOf(res); err == nil || got != want {
			t.Errorf("handshake %d: status %d, %v, want status %d", i, got, err, want)
		}
	}
	newClient(t, s.URL).connect("A").next()
}

func statusOf(res *http.Response) int {
	if res == nil {
		return 0
	}
	return res.StatusCode
}

func TestPromptFaults(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{Faults: comfytest.Faults{{On: "prompt", Do: "no-history", Count: 1}, {On: "prompt", Do: "no-end", Count: 1}}})
	c := newClient(t, s.URL).connect("A")
	id := c.prompt(oneImage)
	c.untilEnd(id)
	if h := c.get("/history/" + id); len(h) != 0 {
		t.Errorf("history %v", h)
	}
	silent := c.prompt(oneImage)
	for _, m := range c.untilEnd(c.prompt(oneImage)) {
		if m.Type == "executing" && m.Data["node"] == nil && m.Data["prompt_id"] == silent {
			t.Error("the end marker came")
		}
	}
}

func TestProcessFaults(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL).connect("A")
	c.untilEnd(c.prompt(oneImage))
	s.SetFaults(comfytest.Faults{{On: "process", Do: "wipe"}})
	if n := s.HistorySize(); n != 0 {
		t.Errorf("the history still has %d entries", n)
	}
	s.SetFaults(comfytest.Faults{{On: "process", Do: "block", Delay: 300 * time.Millisecond}})
	began := time.Now()
	for time.Since(began) < 100*time.Millisecond { // until one request had to wait
		if status, _ := c.do("GET", "/prompt", nil); status != 200 {
			t.Fatalf("status %d", status)
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("no request had to wait")
		}
	}
	s.SetFaults(comfytest.Faults{{On: "process", Do: "zombie"}})
	await(t, s, func() bool {
		c.do("POST", "/prompt", `{"prompt":`+oneImage+`}`)
		return c.get("/prompt")["exec_info"].(map[string]any)["queue_remaining"].(float64) >= 2
	})
	s.SetFaults(comfytest.Faults{{On: "process", Do: "exit", Status: 1}})
	<-s.Comfy().Done()
}

func TestFaultsAreSetOverHTTP(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL)
	faults := comfytest.Faults{{On: "GET /queue", Do: "answer", Status: 418, Count: 1, Delay: time.Millisecond}}
	if status, text := c.do("POST", "/sim/faults", faults); status != 200 {
		t.Fatalf("POST /sim/faults: %d %s", status, text)
	}
	if status, _ := c.do("GET", "/queue", nil); status != 418 {
		t.Errorf("GET /queue: %d", status)
	}
	var ledger comfytest.Ledger
	_, text := c.do("GET", "/sim/ledger", nil)
	if err := json.Unmarshal([]byte(text), &ledger); err != nil || len(ledger.Requests) != 1 || ledger.Requests[0].Path != "/queue" {
		t.Errorf("ledger %s: %v", text, err)
	}
	var bad comfytest.Fault
	if err := json.Unmarshal([]byte(`{"on":"ws","delay":"soon"}`), &bad); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a bad delay was taken: %v", err)
	}
}
