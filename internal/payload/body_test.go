package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

func content(b []byte) job.Content {
	return job.Content{Size: int64(len(b)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func read(t *testing.T, b *Body) []byte {
	t.Helper()
	r := b.Reader()
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read body: %v", err)
	}
	if int64(len(got)) != b.Size() {
		t.Fatalf("body is %d bytes, Size told %d", len(got), b.Size())
	}
	return got
}

func outputBody(t *testing.T, o *job.Output) *Body {
	t.Helper()
	b, err := Output(o, job.Timings{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOutputShapes(t *testing.T) {
	png := job.File{Filename: "ComfyUI_00001_.png", Node: "9", Kind: "images", MIME: "image/png", Content: content([]byte("picture"))}
	stored := png
	stored.URL = "https://b.s3.eu-west-1.amazonaws.com/2026-11-23/j/ComfyUI_00001_.png?a=1&b=2"
	sound := job.File{Filename: "s.flac", Subfolder: "audio", Node: "3", Kind: "audio", MIME: "audio/flac", Content: content([]byte("noise"))}

	tests := []struct {
		name string
		in   job.Output
		want string
	}{
		{"nothing saved", job.Output{}, `{"status":"success_no_images","images":[]}`},
		{"an image inline stands once", job.Output{Files: []job.File{png}}, `{
			"images":[{"filename":"ComfyUI_00001_.png","type":"base64","data":"cGljdHVyZQ=="}],
			"files":[{"filename":"ComfyUI_00001_.png","node_id":"9","kind":"images","mime_type":"image/png","size":7,"type":"base64"}]}`},
		{"a stored image has its URL in both lists", job.Output{Files: []job.File{stored}}, `{
			"images":[{"filename":"ComfyUI_00001_.png","type":"s3_url","data":"https://b.s3.eu-west-1.amazonaws.com/2026-11-23/j/ComfyUI_00001_.png?a=1&b=2"}],
			"files":[{"filename":"ComfyUI_00001_.png","node_id":"9","kind":"images","mime_type":"image/png","size":7,"type":"s3_url","data":"https://b.s3.eu-west-1.amazonaws.com/2026-11-23/j/ComfyUI_00001_.png?a=1&b=2"}]}`},
		{"other kinds only under files", job.Output{Files: []job.File{sound}, Values: map[string]json.RawMessage{"5": json.RawMessage(`{"text":["hi"]}`)}}, `{
			"images":[],
			"files":[{"filename":"s.flac","subfolder":"audio","node_id":"3","kind":"audio","mime_type":"audio/flac","size":5,"type":"base64","data":"bm9pc2U="}],
			"values":{"5":{"text":["hi"]}}}`},
		{"what is known of a film", job.Output{Files: []job.File{{
			Filename: "f.mp4", Kind: "images", MIME: "video/mp4", Width: 64, Height: 48, Frames: 12, Duration: 1200 * time.Millisecond,
			Content: content([]byte("film")), URL: "https://b/f.mp4",
		}}}, `{
			"images":[{"filename":"f.mp4","type":"s3_url","data":"https://b/f.mp4"}],
			"files":[{"filename":"f.mp4","kind":"images","mime_type":"video/mp4","size":4,"width":64,"height":48,"frame_count":12,"duration":1.2,"type":"s3_url","data":"https://b/f.mp4"}]}`},
		{"warnings", job.Output{Files: []job.File{stored}, Warnings: []string{"w"}}, `{
			"images":[{"filename":"ComfyUI_00001_.png","type":"s3_url","data":"https://b.s3.eu-west-1.amazonaws.com/2026-11-23/j/ComfyUI_00001_.png?a=1&b=2"}],
			"files":[{"filename":"ComfyUI_00001_.png","node_id":"9","kind":"images","mime_type":"image/png","size":7,"type":"s3_url","data":"https://b.s3.eu-west-1.amazonaws.com/2026-11-23/j/ComfyUI_00001_.png?a=1&b=2"}],
			"errors":["w"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got, want any
			if err := json.Unmarshal(read(t, outputBody(t, &tt.in)), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

// Files of every length around the encoder's chunk come back byte-equal, from
// readers that return little at a time, and as often as the body is read.
func TestBodyIsByteEqualAndReadableAgain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 2, 3, chunk - 1, chunk, chunk + 1, 2*chunk + 7} {
		raw := make([]byte, size)
		for i := range raw {
			raw[i] = byte(rnd.Uint32())
		}
		c := job.Content{Size: int64(size), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(&trickle{data: raw, rnd: rnd}), nil
		}}
		files := []job.File{{Filename: "a", Kind: "images", Content: c}, {Filename: "b", Kind: "gifs", Content: c}}
		b, err := Object(map[string]any{"status": "COMPLETED", "id": "x&y"}, "output", outputBody(t, &job.Output{Files: files}))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var got struct {
				ID     string
				Output struct {
					Images []struct{ Data []byte }
					Files  []struct{ Data []byte }
				}
			}
			if err := json.Unmarshal(read(t, b), &got); err != nil {
				t.Fatalf("size %d: %v", size, err)
			}
			if !bytes.Equal(got.Output.Images[0].Data, raw) || !bytes.Equal(got.Output.Files[1].Data, raw) {
				t.Errorf("size %d: bytes differ", size)
			}
			if got.ID != "x&y" {
				t.Errorf("id = %q", got.ID)
			}
		}
	}
}

// trickle returns a few bytes per read.
type trickle struct {
	data []byte
	rnd  *rand.Rand
}

func (s *trickle) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.data[:min(len(s.data), 1+s.rnd.IntN(4000))])
	s.data = s.data[n:]
	return n, nil
}

func TestFileOfAnotherLengthIsAnError(t *testing.T) {
	for name, actual := range map[string]int{"shorter": 99, "longer": 101, "empty": 0} {
		t.Run(name, func(t *testing.T) {
			c := content(make([]byte, actual))
			c.Size = 100
			r := outputBody(t, &job.Output{Files: []job.File{{Filename: "a", Kind: "images", Content: c}}}).Reader()
			defer r.Close()
			if _, err := io.ReadAll(r); err == nil {
				t.Error("read without an error; the promised Content-Length would be wrong")
			}
		})
	}
}

func TestFileThatCannotBeOpened(t *testing.T) {
	gone := job.Content{Size: 3, Open: func() (io.ReadCloser, error) { return nil, os.ErrNotExist }}
	r := outputBody(t, &job.Output{Files: []job.File{{Kind: "images", Content: gone}}}).Reader()
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v, want it to wrap %v", err, os.ErrNotExist)
	}
}

// A name that looks like a place for bytes cannot take one.
func TestForeignTextCannotForgeAHole(t *testing.T) {
	b := outputBody(t, &job.Output{
		Files:    []job.File{{Filename: "#0;", Kind: "images", Content: content([]byte("x"))}},
		Warnings: []string{strings.Repeat("#0;", 10)},
	})
	var got struct {
		Images []struct{ Filename, Data string }
	}
	if err := json.Unmarshal(read(t, b), &got); err != nil {
		t.Fatal(err)
	}
	if got.Images[0].Filename != "#0;" || got.Images[0].Data != "eA==" {
		t.Errorf("images = %+v", got.Images)
	}
}

func TestRawBodyInsideAnObject(t *testing.T) {
	b, err := Object(nil, "output", Raw(content([]byte(`{"a":1}`))))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(read(t, b)), `{"output":{"a":1}}`; got != want {
		t.Errorf("body = %s, want %s", got, want)
	}
	b, err = Object(map[string]any{"id": 1}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(read(t, b)), `{"id":1}`; got != want {
		t.Errorf("body = %s, want %s", got, want)
	}
}

func TestFailureDocument(t *testing.T) {
	b, err := Failure(&job.Failure{Kind: "workflow", Cause: "workflow_invalid", Message: "not in it", Attempts: 1, Details: []int{1}}, job.Timings{})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"cause":"workflow_invalid","kind":"workflow","retryable":false,"attempts":1,"details":[1]}`
	if got := string(read(t, b)); got != want {
		t.Errorf("failure = %s, want %s", got, want)
	}
}

// The memory that a body takes does not grow with its files.
func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	const size = 48 << 20
	huge := job.Content{Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(zeros{}, size)), nil
	}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b := outputBody(t, &job.Output{Files: []job.File{{Kind: "images", Content: huge}}})
	r := b.Reader()
	defer r.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 32<<10))
	if err != nil || n != b.Size() {
		t.Fatalf("copied %d of %d bytes: %v", n, b.Size(), err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("writing a result of %d MiB allocated %d KiB", size>>20, grown>>10)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func BenchmarkBody(b *testing.B) {
	const size = 10 << 20
	c := job.Content{Size: size, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(zeros{}, size)), nil
	}}
	body, err := Output(&job.Output{Files: []job.File{{Kind: "images", Content: c}}}, job.Timings{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		r := body.Reader()
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}

// Files that stand in another order in the document than in the output are found
// at their spans all the same; a stored one has none.
func TestSpansOfFiles(t *testing.T) {
	sound, picture := content([]byte("noise")), content([]byte("picture"))
	b := outputBody(t, &job.Output{Files: []job.File{
		{Filename: "s.flac", Kind: "audio", Content: sound},
		{Filename: "u.png", Kind: "images", URL: "https://bucket.test/u.png", Content: picture},
		{Filename: "p.png", Kind: "images", Content: picture},
	}})
	doc := read(t, b)
	want := []string{"bm9pc2U=", "cGljdHVyZQ=="}
	if len(b.Spans()) != len(want) {
		t.Fatalf("spans = %v, want %d", b.Spans(), len(want))
	}
	for i, s := range b.Spans() {
		if got := string(doc[s.Offset : s.Offset+s.Length]); got != want[i] {
			t.Errorf("span %d holds %q, want %q", i, got, want[i])
		}
	}
}

// A panic in a file's reader is an error of the read: net/http reads bodies in a goroutine where it would end the program.
func TestFault_P12_PanicWhileAFileIsRead(t *testing.T) {
	for name, open := range map[string]func() (io.ReadCloser, error){
		"open": func() (io.ReadCloser, error) { panic("planted") },
		"read": func() (io.ReadCloser, error) { return io.NopCloser(panicking{}), nil },
	} {
		r := Raw(job.Content{Size: 3, Open: open}).Reader()
		if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: %v, want the panic as an error", name, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("planted") }

// Where the time went stands beside what every client knows, also of a job that
// failed; of one that never began there is nothing to tell.
func TestTimingsInResults(t *testing.T) {
	const times = `"timings":{"prepare":1,"queue":2,"execute":3000,"deliver":4,"nodes":{"5":2900,"7":0}}}`
	took := job.Timings{
		Prepare: time.Millisecond, Queue: 2 * time.Millisecond, Execute: 3 * time.Second, Deliver: 4 * time.Millisecond,
		Nodes: map[string]time.Duration{"5": 2900 * time.Millisecond, "7": 10 * time.Microsecond},
	}
	for name, tt := range map[string]struct {
		body *Body
		want string
	}{
		"completed":   {must(Output(&job.Output{}, took)), `{"status":"success_no_images","images":[],` + times},
		"failed":      {must(Failure(&job.Failure{Cause: "x", Kind: "y"}, took)), `{"cause":"x","kind":"y","retryable":false,` + times},
		"never began": {must(Output(&job.Output{}, job.Timings{})), `{"status":"success_no_images","images":[]}`},
	} {
		r := tt.body.Reader()
		got, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, tt.want)
		}
	}
}

func must(b *Body, err error) *Body {
	if err != nil {
		panic(err)
	}
	return b
}
