package comfy

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// An output that ends early is an error, and so is any answer but 200.
func TestFault_H5_TruncatedView(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		outcome, err := p.Run(t.Context(), p.prompt(pictureWorkflow), nil)
		if err != nil {
			t.Fatal(err)
		}
		o := outcome.Outputs[0]
		whole := readAll(t, p.Client, o)

		p.SetFaults(comfytest.Faults{{On: "GET /view", Do: "truncate", After: 40, Count: 1}, {On: "GET /view", Do: "answer", Status: 500, Type: "text/html", Body: "<h1>oops</h1>", Count: 1}})
		body, size, err := p.View(t.Context(), o)
		if err != nil || size != int64(len(whole)) {
			t.Fatalf("%d bytes are announced, %v; want %d", size, err, len(whole))
		}
		if got, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) || len(got) > 40 {
			t.Errorf("read %d bytes and %v, want an unexpected end", len(got), err)
		}
		body.Close()
		var refused *HTTPError
		if _, _, err := p.View(t.Context(), o); !errors.As(err, &refused) || refused.Status != 500 {
			t.Errorf("got %v, want the status 500", err)
		}
		o.Filename = "missing.png"
		if _, _, err := p.View(t.Context(), o); !errors.As(err, &refused) || refused.Status != 404 || !strings.Contains(err.Error(), "missing.png") {
			t.Errorf("got %v, want the status 404 and the name", err)
		}
	})
}

// An output that drips is read as long as something comes; when nothing does
// for 30 s, or ctx ends, reading ends.
func TestFault_H9_ViewDeadlines(t *testing.T) {
	inBubbles(t, nil, func(t *testing.T, p *peer) {
		f := <-p.start(t.Context(), p.prompt(pictureWorkflow), nil)
		if f.err != nil {
			t.Fatal(f.err)
		}
		o := f.outcome.Outputs[0]
		p.SetFaults(comfytest.Faults{{On: "GET /view", Do: "drip", Delay: 20 * time.Second, Bytes: 64, Count: 1}, {On: "GET /view", Do: "drip", Delay: time.Minute, Bytes: 64}})
		readAll(t, p.Client, o)

		read := func(ctx context.Context) error {
			body, _, err := p.View(ctx, o)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.ReadAll(body)
			return err
		}
		if err := read(t.Context()); !errors.Is(err, errViewIdle) {
			t.Errorf("got %v, want %v", err, errViewIdle)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
	})
}

func upload(name, data string) Upload {
	return Upload{Name: name, Subfolder: "job", Size: int64(len(data)), Content: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(data)), nil
	}}
}

// The reference of an upload is the name that ComfyUI gave it, and an upload
// that breaks is sent once more.
func TestFault_H10_UploadRenamedAndRetried(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		for _, step := range []struct{ data, want string }{
			{"first", "job/in \"é\".png"}, {"first", "job/in \"é\".png"}, {"second", "job/in \"é\" (1).png"},
		} {
			p.SetFaults(comfytest.Faults{{On: "POST /upload/image", Do: "reset", Count: 1}})
			ref, err := p.Upload(t.Context(), upload(`in "é".png`, step.data))
			if err != nil || ref != step.want {
				t.Fatalf("reference %q, %v; want %q", ref, err, step.want)
			}
			if got := string(readFile(t, filepath.Join(p.InputDir(), filepath.FromSlash(ref)))); got != step.data {
				t.Errorf("%s holds %q, want %q", ref, got, step.data)
			}
		}
	})
}

// What will not pass a second time is not tried again.
func TestFault_H10_UploadRefused(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		p.SetFaults(comfytest.Faults{{On: "POST /upload/image", Do: "answer", Status: 413, Body: "Maximum request body size exceeded."}})
		_, err := p.Upload(t.Context(), upload("large.png", "x"))
		var refused *HTTPError
		if !errors.As(err, &refused) || refused.Status != 413 || !strings.Contains(err.Error(), "large.png") {
			t.Errorf("got %v, want the status 413 and the name", err)
		}
		if n := len(p.Requests()); n != 1 {
			t.Errorf("it was tried %d times", n)
		}
	})
}

// An input that is shorter than promised, or cannot be read, is never taken for
// stored.
func TestFault_H10_UploadWithoutItsBytes(t *testing.T) {
	inBothGenerations(t, func(t *testing.T, p *peer) {
		short := upload("short.png", "123")
		short.Size = 100
		if ref, err := p.Upload(t.Context(), short); err == nil {
			t.Errorf("three bytes passed for a hundred, as %s", ref)
		}
		gone := upload("gone.png", "")
		gone.Content = func() (io.ReadCloser, error) { return nil, os.ErrNotExist }
		if _, err := p.Upload(t.Context(), gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want it to say that the file does not exist", err)
		}
	})
}
