package comfytest_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/gorilla/websocket"
)

const slowSteps = `{"1":{"class_type":"SimSleep","inputs":{"seconds":60,"mode":"poll","steps":6000}}}`

// A socket of the same client id takes over, and closing the older one later
// makes the newer one deaf.
func TestClosingTheOlderSocketUnregistersTheNewer(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL)
	older := c.connect("A")
	id := older.prompt(slowSteps)
	older.until(func(m message) bool { return m.Type == "progress" })
	newer := c.connect("A")
	greeting := []message{newer.next(), newer.next()}
	if got := greeting[0]; got.Type != "status" || got.Data["sid"] != "A" {
		t.Errorf("first message after a reconnect: %v", got)
	}
	if got := greeting[1]; got.Type != "executing" || got.Data["node"] != "1" || got.Data["prompt_id"] != nil {
		t.Errorf("second message after a reconnect: %v, want executing without a prompt id", got)
	}
	newer.until(func(m message) bool { return m.Type == "progress" })
	older.ws.Close()
	await(t, s, func() bool { c.do("GET", "/prompt", nil); return s.Sockets() == 1 })
	c.do("POST", "/interrupt", nil)
	await(t, s, func() bool { return s.Executions()[0].Outcome == comfytest.Interrupted })
	for {
		m, err := newer.read(200 * time.Millisecond)
		if err != nil {
			break
		}
		if m.Type == "execution_interrupted" || m.Type == "executing" && m.Data["prompt_id"] == id {
			t.Errorf("the deaf socket got %v", m)
		}
	}
}

func TestMessagesReachTheirOwnerOnly(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL)
	owner, other := c.connect("A"), c.connect("B")
	id := owner.prompt(`{"1":{"class_type":"SimSleep","inputs":{"seconds":0.02,"mode":"poll","steps":2}}}`)
	owner.untilEnd(id)
	other.next()
	var got []string
	for range 3 {
		got = append(got, other.next().Type)
	}
	if want := []string{"status", "status", "status"}; !slices.Equal(got, want) {
		t.Errorf("another client got %v, want %v", got, want)
	}

	// Without a client id progress is for everybody, and the rest for nobody.
	if status, text := c.do("POST", "/prompt", `{"prompt":{"1":{"class_type":"SimSleep","inputs":{"seconds":0.02,"mode":"poll","steps":2,"seed":3}}}}`); status != 200 {
		t.Fatal(text)
	}
	all := types(other.until(func(m message) bool {
		return m.Type == "status" && strings.Contains(fact(m), "queue=0")
	}))
	for _, name := range []string{"execution_start", "executing", "executed", "execution_success"} {
		if slices.Contains(all, name) {
			t.Errorf("%s was sent to all: %v", name, all)
		}
	}
	if !slices.Contains(all, "progress") || !slices.Contains(all, "progress_state") {
		t.Errorf("progress was not sent to all: %v", all)
	}
}

func TestPreviewsCarryMetadataWhenAskedFor(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{Previews: true, StepDelay: -1})
	c := newClient(t, s.URL)
	kind := func(id, first string) uint32 {
		ws := c.connect(id)
		ws.next()
		if err := ws.ws.WriteMessage(websocket.TextMessage, []byte(first)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(first, "feature_flags") {
			all := ws.until(func(m message) bool { return m.Type == "feature_flags" }) // the prompt before tells all of its end
			if m := all[len(all)-1]; m.Data["supports_preview_metadata"] != true {
				t.Errorf("answer to feature_flags: %v", m)
			}
		}
		body := `{"client_id":"` + id + `","prompt":` + strings.Replace(sdxl, `"seed":7`, `"seed":`+id, 1) + `}`
		if status, text := c.do("POST", "/prompt", body); status != 200 {
			t.Fatal(text)
		}
		all := ws.until(func(m message) bool { return m.Type == "binary" })
		return binary.BigEndian.Uint32(all[len(all)-1].Binary)
	}
	if got := kind("1", `{"type":"hello"}`); got != 1 {
		t.Errorf("preview event %d, want 1", got)
	}
	if got := kind("2", `{"type":"feature_flags","data":{"supports_preview_metadata":true}}`); got != 4 {
		t.Errorf("preview event %d, want 4", got)
	}
}

const sdxl = `{"1":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"sd_xl_base_1.0.safetensors"}},
"2":{"class_type":"CLIPTextEncode","inputs":{"text":"a lighthouse at dusk","clip":["1",1]}},
"3":{"class_type":"CLIPTextEncode","inputs":{"text":"blurry","clip":["1",1]}},
"4":{"class_type":"EmptyLatentImage","inputs":{"width":64,"height":48,"batch_size":1}},
"5":{"class_type":"KSampler","inputs":{"model":["1",0],"positive":["2",0],"negative":["3",0],"latent_image":["4",0],"seed":7,"steps":4,"cfg":7,"sampler_name":"euler","scheduler":"normal","denoise":1}},
"6":{"class_type":"VAEDecode","inputs":{"samples":["5",0],"vae":["1",2]}},
"9":{"class_type":"SaveImage","inputs":{"images":["6",0],"filename_prefix":"job/x"}}}`

// The end of the process: no close message, connections refused, and Exit
// told the code or the signal.
func TestDeathCutsConnectionsWithoutAGoodbye(t *testing.T) {
	tests := []struct {
		how  string
		code int
		sig  syscall.Signal
	}{
		{"sigkill", -1, syscall.SIGKILL},
		{"sigsegv", -1, syscall.SIGSEGV},
		{"exit:3", 3, 0},
		{"bad_ui", 1, 0},
		{"sigint", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			type end struct {
				code int
				sig  syscall.Signal
			}
			ended := make(chan end, 1)
			s := comfytest.NewServer(t, comfytest.Config{Exit: func(code int, sig syscall.Signal) { ended <- end{code, sig} }})
			c := newClient(t, s.URL).connect("A")
			c.prompt(`{"1":{"class_type":"SimDie","inputs":{"how":"` + tt.how + `","when":"after_output"}}}`)
			for {
				_, err := c.read(10 * time.Second)
				var closed *websocket.CloseError
				if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
					t.Errorf("a close message came: %v", closed)
				}
				if err != nil {
					break
				}
			}
			if got := <-ended; got != (end{tt.code, tt.sig}) {
				t.Errorf("exit %v, want %d and signal %d", got, tt.code, tt.sig)
			}
			if _, _, err := c.try("GET", "/prompt", nil); err == nil {
				t.Error("a dead process answers")
			}
			if got := len(s.Executions()[0].Files); got != 1 {
				t.Errorf("%d files were written before the death, want 1", got)
			}
			if err := s.Restart(nil); err != nil {
				t.Fatal(err)
			}
			if h := c.get("/history"); len(h) != 0 || len(s.Executions()) != 1 {
				t.Errorf("after a restart: history %v, %d executions in the ledger", h, len(s.Executions()))
			}
		})
	}
}

func TestLongClientMessageIsRefused(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{})
	c := newClient(t, s.URL).connect("A")
	c.next()
	_ = c.ws.WriteMessage(websocket.TextMessage, make([]byte, 5<<20))
	_, err := c.read(10 * time.Second)
	if !websocket.IsCloseError(err, websocket.CloseMessageTooBig) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after 5 MiB: %v, want close 1009", err)
	}
}
