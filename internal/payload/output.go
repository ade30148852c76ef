package payload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/comfyvisor/comfyvisor/internal/job"
)

// image is a file in the documented shape that every client knows.
type image struct {
	Filename string `json:"filename"`
	Type     string `json:"type"` // base64 or s3_url
	Data     string `json:"data"`
}

// file is a file with all that is known of it. The bytes of one that also
// stands in images are not written twice: Data is left out there.
type file struct {
	Filename  string `json:"filename"`
	Subfolder string `json:"subfolder,omitempty"`
	Node      string `json:"node_id,omitempty"`
	Kind      string `json:"kind"`
	MIME      string `json:"mime_type,omitempty"`
	Preview   bool   `json:"preview,omitempty"`
	Size      int64  `json:"size"`
	// What is known of pictures, films and sound; the duration is in seconds.
	Width    int64   `json:"width,omitempty"`
	Height   int64   `json:"height,omitempty"`
	Frames   int     `json:"frame_count,omitempty"`
	Duration float64 `json:"duration,omitempty"`
	Type     string  `json:"type"` // base64 or s3_url
	Data     string  `json:"data,omitempty"`
}

// output is the result of a job that completed.
type output struct {
	Status  string                     `json:"status,omitempty"`
	Message string                     `json:"message,omitempty"`
	Images  []image                    `json:"images"`
	Files   []file                     `json:"files,omitempty"`
	Values  map[string]json.RawMessage `json:"values,omitempty"`
	Errors  []string                   `json:"errors,omitempty"`
	Timings *Timings                   `json:"timings,omitempty"`
}

// statusNoImages is what clients of worker-comfyui see when a workflow ran and
// saved nothing.
const statusNoImages = "success_no_images"

// kindImages is the output key whose files are listed in the documented shape.
// ComfyUI lists the videos of its own nodes there, too.
const kindImages = "images"

// Output returns the output document of a completed job: images in the shape
// of worker-comfyui, everything else beside it.
func Output(o *job.Output, t job.Timings) (*Body, error) {
	holes := holes{mark: uuid.NewString()}
	doc := output{Message: o.Note, Images: []image{}, Values: o.Values, Errors: o.Warnings, Timings: TimingsOf(t)}
	for _, f := range o.Files {
		doc.add(f, &holes)
	}
	if len(o.Files) == 0 && len(o.Warnings) == 0 {
		doc.Status = statusNoImages
	}
	text, err := encodeJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return holes.fill(text)
}

func (d *output) add(f job.File, h *holes) {
	typ, data := "s3_url", f.URL
	if f.URL == "" {
		typ, data = "base64", h.leave(f.Content)
	}
	listed := data
	if f.Kind == kindImages {
		d.Images = append(d.Images, image{Filename: f.Filename, Type: typ, Data: data})
		if f.URL == "" {
			listed = ""
		}
	}
	frames := f.Frames
	if frames == 1 { // a plain picture
		frames = 0
	}
	d.Files = append(d.Files, file{
		Filename: f.Filename, Subfolder: f.Subfolder, Node: f.Node, Kind: f.Kind,
		MIME: f.MIME, Preview: f.Preview, Size: f.Content.Size, Width: f.Width, Height: f.Height,
		Frames: frames, Duration: f.Duration.Round(time.Millisecond).Seconds(), Type: typ, Data: listed,
	})
}

// failure is what a job that failed says beside its error text.
type failure struct {
	Cause     string   `json:"cause"`
	Kind      string   `json:"kind"`
	Retryable bool     `json:"retryable"`
	Attempts  int      `json:"attempts,omitempty"`
	Details   any      `json:"details,omitempty"`
	Timings   *Timings `json:"timings,omitempty"`
}

// Failure returns the document that goes beside a failed job's error text.
func Failure(f *job.Failure, t job.Timings) (*Body, error) {
	doc, err := encodeJSON(failure{f.Cause, f.Kind, f.Retryable, f.Attempts, f.Details, TimingsOf(t)})
	if err != nil {
		return nil, fmt.Errorf("encode failure: %w", err)
	}
	return text(doc), nil
}

// holes are the places in a document where a file's bytes will stand. Each is
// marked by a random word, which no foreign text can contain.
type holes struct {
	mark     string
	contents []job.Content
}

// leave returns the mark that fill replaces by the base64 text of c.
func (h *holes) leave(c job.Content) string {
	h.contents = append(h.contents, c)
	return h.name(len(h.contents) - 1)
}

func (h *holes) name(i int) string { return h.mark + "#" + strconv.Itoa(i) + ";" }

// fill cuts doc at its marks, in whatever order they stand there, and puts the
// contents in their places.
func (h *holes) fill(doc []byte) (*Body, error) {
	b := &Body{spans: make([]Span, len(h.contents))}
	for range h.contents {
		before, after, found := bytes.Cut(doc, []byte(h.mark+"#"))
		number, after, ended := bytes.Cut(after, []byte(";"))
		i, err := strconv.Atoi(string(number))
		if !found || !ended || err != nil || i >= len(h.contents) {
			return nil, fmt.Errorf("encode result: not all of %d files have a place in the document", len(h.contents))
		}
		b.add(part{text: before})
		start := b.size
		b.add(part{content: &h.contents[i], encode: true})
		b.spans[i] = Span{start, b.size - start}
		doc = after
	}
	b.add(part{text: doc})
	return b, nil
}
