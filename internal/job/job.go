package job

import (
	"encoding/json"
	"io"
	"time"
)

// A Job is one piece of work as its source handed it out.
type Job struct {
	// ID is the source's name for the job, never empty. It is foreign text:
	// it has to be cleaned before it becomes part of a path, a key or a URL.
	ID string
	// Input is the job's input as it came: a JSON object, or a JSON string
	// that holds one. It is not yet validated.
	Input json.RawMessage
	// S3Config is the bucket that came beside the input, with its keys, as it
	// came; nil if none did. It must not be logged, and not be kept on disk.
	S3Config json.RawMessage
	// Timeout is the execution limit that the source told, 0 if it told none.
	Timeout time.Duration
	// Handed is how often the source has handed the job out before, also to an
	// earlier process.
	Handed int
	// Taken is when the source handed the job out.
	Taken time.Time
	// Canceled is closed when the caller gives the job up. A nil channel means
	// that the source cannot tell.
	Canceled <-chan struct{}
}

// Progress says how far a job has come. Sources may drop it, never the job.
type Progress struct {
	// Percent is between 0 and 100 and does not fall during an attempt.
	Percent float64 `json:"percent"`
	// Phase is one of the worker's phases: prepare, execute, deliver.
	Phase string `json:"phase"`
	// Node, Class and Title name the node at work, if there is one.
	Node  string `json:"node,omitempty"`
	Class string `json:"class_type,omitempty"`
	Title string `json:"title,omitempty"`
	// Step of Steps is the node's own progress, 0 of 0 if it tells none.
	Step  int `json:"step,omitempty"`
	Steps int `json:"steps,omitempty"`
	// Left is an estimate of the seconds until the last node is done, at the pace
	// of the steps so far; 0 while there is none.
	Left float64 `json:"left,omitempty"`
	// Attempt is 1 on the first run of the job.
	Attempt int `json:"attempt,omitempty"`
	// Preview shows the unfinished work, nil most of the time.
	Preview *Preview `json:"preview,omitempty"`
}

// A Preview is a small picture of work that is not finished.
type Preview struct {
	MIME string `json:"mime_type"`
	Data []byte `json:"data"` // base64 in JSON
}

// Content is bytes that can be read more than once: a retry opens them again
// instead of keeping them in memory.
type Content struct {
	// Size is the exact number of bytes that a reader from Open yields.
	Size int64
	// Open returns a new reader from the first byte on.
	Open func() (io.ReadCloser, error)
}

// A File is one output of a job.
type File struct {
	// Filename and Subfolder are the names under which the node saved the
	// file, without the folder that keeps jobs apart.
	Filename  string
	Subfolder string
	// Node is the id of the node that reported the file, "" if none did.
	Node string
	// Kind is the key under which the node listed it (images, gifs, audio...).
	Kind string
	// MIME is the type told by the content.
	MIME string
	// Width and Height are those of a picture or a film, 0 where they are not known.
	Width, Height int64
	// Frames is how many pictures it has, 0 where that is not known.
	Frames int
	// Duration is how long a film, an animation or a sound lasts, 0 where that is
	// not known.
	Duration time.Duration
	// Preview tells that the node only shows the file, and keeps it for a while.
	Preview bool
	// Content is the file itself.
	Content Content
	// URL is where the file was stored, "" if it travels inside the result.
	URL string
}

// Output is what a job made.
type Output struct {
	Files []File
	// Values are what nodes reported beside files (text, numbers), by node id.
	Values map[string]json.RawMessage
	// Note says, for people, why there are no files.
	Note string
	// Warnings tell what went wrong without failing the job.
	Warnings []string
}

// A Failure says why a job failed, who can mend it, and how.
type Failure struct {
	// Kind is who can mend it: input, workflow, comfyui, delivery, internal.
	Kind string
	// Cause is a stable word from the closed list in docs/errors.md.
	Cause string
	// Message is for people: what was tried, with which value, what to do next.
	Message string
	// Retryable tells that the same job may well succeed on another try.
	Retryable bool
	// Attempts is how many times the job was begun, 0 if it never was.
	Attempts int
	// Details is further JSON-encodable information, nil if there is none.
	Details any
}

// Error makes a Failure usable as an error inside the worker.
func (f *Failure) Error() string { return f.Cause + ": " + f.Message }

// Timings are the phases of a job, of which a phase that never came is 0.
type Timings struct {
	Prepare time.Duration
	Queue   time.Duration // waiting in ComfyUI's queue
	Execute time.Duration
	Deliver time.Duration
	// Nodes is how long each node was at work in the last attempt, by its id; not
	// those whose results were known.
	Nodes map[string]time.Duration
}

// A Result is the outcome of a job. Exactly one of Output and Failure is set.
type Result struct {
	ID      string
	Output  *Output
	Failure *Failure
	// Refresh asks the platform to stop this pod after the result.
	Refresh bool
	Timings Timings
}
