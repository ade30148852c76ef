package jobclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A State is a job's state in the words of the API.
type State string

// The states of a job. RunPod has a second word for the second.
const (
	Queued    State = "IN_QUEUE"
	Running   State = "IN_PROGRESS"
	Completed State = "COMPLETED"
	Failed    State = "FAILED"
	Canceled  State = "CANCELLED"
	TimedOut  State = "TIMED_OUT"
)

// Final tells whether a job in this state has ended.
func (s State) Final() bool {
	return s == Completed || s == Failed || s == Canceled || s == TimedOut
}

// Progress is how far a job of comfyvisor has come.
type Progress struct {
	Percent float64 `json:"percent"`
	Phase   string  `json:"phase"`
	Node    string  `json:"node"`
	Class   string  `json:"class_type"`
	Title   string  `json:"title"`
	Step    int     `json:"step"`
	Steps   int     `json:"steps"`
	Left    float64 `json:"left"` // seconds, 0 if unknown
	Attempt int     `json:"attempt"`
}

// A Job is how a job stands. The caller must call Close, after which its files
// cannot be opened.
type Job struct {
	ID       string
	State    State
	Progress *Progress // nil if the server tells none
	// Error says why the job did not complete, for people; Cause is comfyvisor's
	// word for it.
	Error, Cause string
	// Delay and Execution are the times in the queue and at work.
	Delay, Execution time.Duration
	Files            []File
	Values           map[string]json.RawMessage // by node
	Warnings         []string
	// Output is the result as it came, without the bytes of its files.
	Output json.RawMessage

	document *os.File // nil for a result that was short
}

// Close frees what the result occupies.
func (j *Job) Close() error {
	if j.document == nil {
		return nil
	}
	return j.document.Close()
}

// A File is one file of a result.
type File struct {
	Name, Subfolder, Node, Kind, MIME string
	Size                              int64  // in bytes, -1 if it was not told
	URL                               string // where it is, "" if it is in the result

	text string // base64
	at   hole   // of the base64 text, if that is long
}

// Job asks how a job stands, and for its result if it has ended.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	j, err := c.job(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("ask %s for job %s: %w", c.base, id, err)
	}
	return j, nil
}

func (c *Client) job(ctx context.Context, id string) (*Job, error) {
	resp, err := c.send(ctx, http.MethodGet, "status/"+url.PathEscape(id), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	document, err := c.spool()
	if err != nil {
		return nil, err
	}
	bones, err := cut(io.TeeReader(resp.Body, document), uuid.NewString()+"#")
	if err == nil && resp.ContentLength >= 0 {
		var end int64
		if end, err = document.Seek(0, io.SeekEnd); err == nil && end != resp.ContentLength {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return nil, errors.Join(err, document.Close())
	}
	j, err := read(bones)
	if err == nil {
		err = j.fill(bones, document)
	}
	if err != nil || len(bones.holes) == 0 {
		return j, errors.Join(err, document.Close())
	}
	j.document = document
	return j, nil
}

// read makes a Job of what the status route answers.
func read(bones *skeleton) (*Job, error) {
	var doc struct {
		ID        string          `json:"id"`
		Status    State           `json:"status"`
		Error     any             `json:"error"`
		Delay     float64         `json:"delayTime"`
		Execution float64         `json:"executionTime"`
		Output    json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(bones.text, &doc); err != nil || doc.Status == "" {
		return nil, fmt.Errorf("the answer is not that of a job API (%v)", err)
	}
	j := &Job{
		ID: doc.ID, State: doc.Status, Output: doc.Output, Error: text(doc.Error),
		Delay: time.Duration(doc.Delay * float64(time.Millisecond)), Execution: time.Duration(doc.Execution * float64(time.Millisecond)),
	}
	switch {
	case j.State == Completed:
		j.readOutput(bones)
	case j.State.Final():
		j.readFailure()
	default:
		var p Progress
		if json.Unmarshal(doc.Output, &p) == nil && p.Phase != "" {
			j.Progress = &p
		}
	}
	return j, nil
}

// text is what an error says, whatever JSON it is.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, _ := json.Marshal(v) // it was JSON before
	return string(b)
}

// fill puts the long texts that are no files back where they stood.
func (j *Job) fill(bones *skeleton, document io.ReaderAt) error {
	for node, value := range j.Values {
		whole, err := bones.fill(value, document)
		if err != nil {
			return err
		}
		j.Values[node] = whole
	}
	return nil
}

func (j *Job) readFailure() {
	var doc struct {
		Cause string `json:"cause"`
		Error any    `json:"error"`
	}
	if json.Unmarshal(j.Output, &doc) != nil {
		return
	}
	j.Cause = doc.Cause
	if j.Error == "" {
		j.Error = text(doc.Error)
	}
}

// readOutput finds the files of a result. Those under images stand under files
// once more, where the server tells of both.
func (j *Job) readOutput(bones *skeleton) {
	type entry struct {
		Filename  string `json:"filename"`
		Subfolder string `json:"subfolder"`
		Node      string `json:"node_id"`
		Kind      string `json:"kind"`
		MIME      string `json:"mime_type"`
		Size      *int64 `json:"size"`
		Type      string `json:"type"`
		Data      string `json:"data"`
	}
	var doc struct {
		Images []entry                    `json:"images"`
		Files  []entry                    `json:"files"`
		Values map[string]json.RawMessage `json:"values"`
		Errors []string                   `json:"errors"`
	}
	if json.Unmarshal(j.Output, &doc) != nil {
		return // a worker of another kind; its output is shown as it is
	}
	j.Values, j.Warnings = doc.Values, doc.Errors
	images := doc.Images
	for _, f := range doc.Files {
		if f.Kind == "images" && len(images) > 0 && images[0].Filename == f.Filename {
			f.Type, f.Data = images[0].Type, images[0].Data
			images = images[1:]
		}
		j.Files = append(j.Files, file(bones, f.Type, f.Data, File{Name: f.Filename, Subfolder: f.Subfolder, Node: f.Node, Kind: f.Kind, MIME: f.MIME, Size: sizeOr(f.Size)}))
	}
	for _, f := range images {
		j.Files = append(j.Files, file(bones, f.Type, f.Data, File{Name: f.Filename, Kind: "images", Size: -1}))
	}
}

func sizeOr(told *int64) int64 {
	if told == nil {
		return -1
	}
	return *told
}

func file(bones *skeleton, typ, data string, f File) File {
	if typ == "s3_url" {
		f.URL = data
		return f
	}
	if at, ok := bones.hole(data); ok {
		f.at = at
		return f
	}
	f.text = data
	return f
}

// Open reads a file of the job from its first byte. The caller closes it.
func (c *Client) Open(ctx context.Context, j *Job, f File) (io.ReadCloser, error) {
	switch {
	case f.URL != "":
		return c.download(ctx, f)
	case f.at.size > 0:
		return io.NopCloser(decoder(io.NewSectionReader(j.document, f.at.offset, f.at.size))), nil
	}
	return io.NopCloser(decoder(strings.NewReader(f.text))), nil
}

func decoder(r io.Reader) io.Reader { return base64.NewDecoder(base64.StdEncoding, r) }

// download reads a file from where it was stored. The URL may be as good as a
// password: no error shows more of it than its host.
func (c *Client) download(ctx context.Context, f File) (io.ReadCloser, error) {
	u, err := url.Parse(f.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("download %s: the result names no URL to load it from", f.Name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("download %s from %s: the URL cannot be asked", f.Name, u.Host)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the URL
		}
		return nil, fmt.Errorf("download %s from %s: %w", f.Name, u.Host, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("download %s from %s: answered %s; a bucket without presigned URLs wants its own keys", f.Name, u.Host, resp.Status)
	}
	return resp.Body, nil
}
