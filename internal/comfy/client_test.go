package comfy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// handled returns a client of a server that only answers what handle does.
func handled(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	c := New(Config{Addr: strings.TrimPrefix(server.URL, "http://")}, nil)
	t.Cleanup(func() { c.Close() })
	return c
}

// Answers that never end, in time or in size, are cut off, and gzip is neither
// asked for nor undone.
func TestFault_H9_AnswersAreBounded(t *testing.T) {
	t.Run("slow", func(t *testing.T) {
		inBubbles(t, comfytest.Faults{{On: "*", Do: "drip", Delay: time.Second, Bytes: 1}}, func(t *testing.T, p *peer) {
			begun := time.Now()
			_, err := p.Stats(t.Context())
			if took := time.Since(begun); !isTimeout(err) || took > answerTimeout {
				t.Errorf("%v after %v, want a timeout after %v", err, took, answerTimeout)
			}
		})
	})
	t.Run("endless", func(t *testing.T) {
		c := handled(t, func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 32<<10)); err != nil {
					return
				}
			}
		})
		if err := c.Alive(t.Context()); err == nil || !strings.Contains(err.Error(), "larger than 65536 bytes") {
			t.Errorf("got %v, want the bound named", err)
		}
	})
	t.Run("compressed", func(t *testing.T) {
		c := handled(t, func(w http.ResponseWriter, r *http.Request) {
			if accept := r.Header.Get("Accept-Encoding"); accept != "" {
				t.Errorf("the client accepts %q", accept)
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b bomb"))
		})
		if err := c.Alive(t.Context()); err == nil {
			t.Error("a compressed answer passed")
		}
	})
}

// An idle connection that ComfyUI closes at the moment of a question costs a
// second try at most, and never a second execution.
func TestFault_H14_IdleConnectionCloses(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		p.SetFaults(comfytest.Faults{{On: "GET /history/*", Do: "reset", Count: 1}, {On: "GET /history/*", Skip: 4, Do: "reset", Count: 1}})
		for range 5 {
			prompt := p.prompt(pictureWorkflow)
			if _, err := p.Run(t.Context(), prompt, nil); err != nil {
				t.Fatal(err)
			}
			if n := p.ran(prompt.ID); n != 1 {
				t.Errorf("the prompt ran %d times", n)
			}
		}
	})
}

func TestAlive(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		if err := p.Alive(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for name, handle := range map[string]http.HandlerFunc{
		"another server":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"hello":1}`)) },
		"a list":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`[]`)) },
		"a page":          func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"an error":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"a redirect":      func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"a broken answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := handled(t, handle).Alive(t.Context()); err == nil {
				t.Error("it passed for ComfyUI")
			}
		})
	}
}

func TestStats(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		s, err := p.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Base(t.Name()); s.Version != want || len(s.Devices) == 0 || s.Devices[0].VRAMTotal == 0 {
			t.Errorf("got %+v, want version %s and a device", s, want)
		}
	})
}

func TestObjectInfo(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		for _, tt := range []struct {
			class      string
			has, lacks string
		}{
			{"", `"KSampler":`, `"NoSuch":`},
			{"KSampler", `"KSampler":`, `"SaveImage":`},
			{"a/b c?", "{}", ":"},
		} {
			var got []byte
			err := p.ObjectInfo(t.Context(), tt.class, func(r io.Reader) (err error) {
				got, err = io.ReadAll(r)
				return err
			})
			if err != nil || !bytes.Contains(got, []byte(tt.has)) || bytes.Contains(got, []byte(tt.lacks)) {
				t.Errorf("object info of %q: %d bytes, %v; want %s in it and not %s", tt.class, len(got), err, tt.has, tt.lacks)
			}
		}
		if old, err := p.NodeReplacements(t.Context()); err != nil || len(old) != 0 {
			t.Errorf("replaced classes = %q, %v, want none", old, err)
		}
	})
}

func TestNodeReplacements(t *testing.T) {
	c := handled(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"OldNode":[{"new_node_id":"NewNode","old_node_id":"OldNode"}]}`))
	})
	if got, err := c.NodeReplacements(t.Context()); err != nil || !slices.Equal(got, []string{"OldNode"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestObjectInfoThatIsRefused(t *testing.T) {
	c := handled(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	err := c.ObjectInfo(t.Context(), "", func(io.Reader) error { t.Error("the body of a 500 was read"); return nil })
	var refused *HTTPError
	if !errors.As(err, &refused) || refused.Status != 500 {
		t.Errorf("err = %v", err)
	}
}

// A ComfyUI that is too old to be told ids answers with its own, under which
// the prompt is followed, found and forgotten.
func TestRunAdoptsTheIDOfAnOldServer(t *testing.T) {
	const theirs = "11111111-2222-4333-8444-555555555555"
	var asked []string
	c := handled(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/prompt":
			_, _ = w.Write([]byte(`{"prompt_id":"` + theirs + `","number":1,"node_errors":{}}`))
		case "/history/" + theirs:
			_, _ = w.Write([]byte(`{"` + theirs + `":{"outputs":{},"status":{"status_str":"success","completed":true,"messages":[["execution_success",{}]]}}}`))
		case "/history":
			body, _ := io.ReadAll(r.Body)
			asked = append(asked, string(body))
		default:
			w.WriteHeader(404)
		}
	})
	c.cfg.PollSilent = time.Millisecond
	if _, err := c.Run(t.Context(), Prompt{ID: fixtureID, Workflow: []byte(`{}`)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Forget(t.Context(), fixtureID); err != nil || !slices.Equal(asked, []string{`{"delete":["` + theirs + `"]}`}) {
		t.Errorf("forgotten by %q, %v", asked, err)
	}
}

// Odd metadata of any prompt makes the routes for jobs answer 500 to everybody.
func TestFindWithoutWorkingJobsRoutes(t *testing.T) {
	faults := comfytest.Faults{{On: "GET /api/jobs/*", Do: "answer", Status: 500}}
	inBubbles(t, faults, func(t *testing.T, p *peer) {
		f := <-p.start(t.Context(), p.prompt(sleepWorkflow(time.Minute, "sleep")), nil)
		wantInTime(t, p, f, 10*time.Millisecond)
	})
}

// Heard tells of answers and of frames, and not of failures to answer.
func TestHeard(t *testing.T) {
	status := http.StatusOK
	c := handled(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	_ = c.Alive(t.Context())
	heard := c.Heard()
	if heard == 0 {
		t.Error("an answer was not heard")
	}
	status = http.StatusBadGateway
	if _ = c.Alive(t.Context()); c.Heard() != heard {
		t.Error("a failure to answer was heard")
	}
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		prompt := p.prompt(sleepWorkflow(time.Second, "poll")) // shorter than it takes to ask
		if _, err := p.Run(t.Context(), prompt, nil); err != nil {
			t.Fatal(err)
		}
		if p.Client.stream.frames.Load() == 0 {
			t.Error("no frame was heard")
		}
	})
}
