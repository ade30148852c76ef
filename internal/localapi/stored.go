package localapi

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// stored is a record as the journal keeps it.
type stored struct {
	Order     uint64
	State     state
	Execution time.Duration // of the policy
	TTL       time.Duration
	Bucket    string `json:",omitempty"` // without its keys

	Created, Queued, Taken, Over time.Time

	Handed, Lost, Base, Attempts int

	Webhook   string    `json:",omitempty"`
	HookTries int       `json:",omitempty"`
	HookNext  time.Time // zero if there is none to be sent

	Failure string          `json:",omitempty"`
	Cause   string          `json:",omitempty"`
	Timings job.Timings     `json:",omitzero"`
	Files   []storedFile    `json:",omitempty"`
	Values  json.RawMessage `json:",omitempty"`
	Details json.RawMessage `json:",omitempty"`
	Result  *storedResult   `json:",omitempty"`

	input json.RawMessage // is in a place of its own
}

type storedFile struct {
	outputFile
	Span payload.Span
}

// storedResult is a document: the name of its file in the spool directory, or
// its text.
type storedResult struct {
	File string `json:",omitempty"`
	Text []byte `json:",omitempty"`
	Size int64
	Made time.Time
}

func (r *record) stored() stored {
	o := &r.outcome
	s := stored{
		Order: r.order, State: r.state, Execution: r.policy.execution, TTL: r.policy.ttl, Bucket: withoutKeys(r.policy.bucket),
		Created: r.created, Queued: r.queued, Taken: r.taken, Over: r.over,
		Handed: r.handed, Lost: r.lost, Base: r.base, Attempts: r.attempts,
		Webhook: r.webhook, HookTries: r.hookTries, HookNext: r.hookNext,
		Failure: o.failure, Cause: o.cause, Timings: o.timings, Values: o.values, Details: o.details,
	}
	for _, f := range o.files {
		s.Files = append(s.Files, storedFile{f, f.span})
	}
	if d := o.output; d != nil {
		s.Result = &storedResult{Size: d.size, Made: d.made}
		switch {
		case d.onDisk():
			s.Result.File = filepath.Base(d.path)
		case d.size <= maxText:
			s.Result.Text = d.text
		}
	}
	return s
}

// maxText is how large a document in memory may be to be kept. A larger one is
// there because no file could be written, and will have been lost.
const maxText = megabyte

// kept is the input for the journal, where nil stands for no change.
func (r *record) kept() json.RawMessage {
	if r.input == nil {
		return json.RawMessage{}
	}
	return r.input
}

// record is the way back from record.stored. Results are in dir.
func (s stored) record(id, dir string) *record {
	r := &record{
		id: id, order: s.Order, input: s.input, policy: policy{s.Execution, s.TTL, s.Bucket},
		state: s.State, created: s.Created, queued: s.Queued, taken: s.Taken, over: s.Over,
		handed: s.Handed, lost: s.Lost, base: s.Base, attempts: s.Attempts,
		webhook: s.Webhook, hookTries: s.HookTries, hookNext: s.HookNext,
		outcome: outcome{
			state: s.State, failure: s.Failure, cause: s.Cause, attempts: s.Attempts,
			timings: s.Timings, values: s.Values, details: s.Details,
		},
		final: make(chan struct{}), canceled: make(chan struct{}),
	}
	for _, f := range s.Files {
		f.outputFile.span = f.Span
		r.outcome.files = append(r.outcome.files, f.outputFile)
	}
	if s.Result != nil {
		d := &document{text: s.Result.Text, size: s.Result.Size, made: s.Result.Made}
		if s.Result.File != "" {
			d.path = filepath.Join(dir, filepath.Base(s.Result.File))
		}
		r.outcome.output = d
	}
	return r
}

// whole tells whether the document is there, all of it.
func (d *document) whole() bool {
	if !d.onDisk() {
		return d == nil || int64(len(d.text)) == d.size
	}
	info, err := os.Lstat(d.path)
	return err == nil && info.Mode().IsRegular() && info.Size() == d.size
}
