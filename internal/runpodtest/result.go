package runpodtest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// What became of a result.
const (
	accepted  = "accepted"
	duplicate = "duplicate"
	rejected  = "rejected"
)

// result is the body of a result or of progress.
type result struct {
	Status  string
	Output  json.RawMessage
	Error   json.RawMessage
	StopPod bool
}

// surrogates are the escapes of UTF-16 surrogates, well paired or not.
var surrogates = regexp.MustCompile(`(?i)\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\ud[89a-f][0-9a-f]{2}`)

// parseBody reads a body more strictly than encoding/json does.
func parseBody(body []byte) (result, error) {
	var r result
	if !utf8.Valid(body) {
		return r, errors.New("is not UTF-8")
	}
	if bytes.IndexByte(body, '\\') >= 0 {
		for _, s := range surrogates.FindAll(body, -1) {
			if len(s) == 6 {
				return r, fmt.Errorf("has the lone surrogate %s", s)
			}
		}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		if strings.Contains(err.Error(), "after top-level value") {
			return r, errors.New("goes on after its end")
		}
		return r, fmt.Errorf("is not a result: %w", err)
	}
	r.Output, r.Error = fields["output"], fields["error"]
	for name, value := range fields {
		var err error
		switch name {
		case "status":
			err = json.Unmarshal(value, &r.Status)
		case "stopPod":
			err = json.Unmarshal(value, &r.StopPod)
		case "output", "error":
		default:
			err = errors.New("such a field there is not")
		}
		if err != nil {
			return r, fmt.Errorf("is not a result: field %q: %w", name, err)
		}
	}
	return r, nil
}

// progress takes down that a job gets on.
func (q *Queue) progress(r request) reply {
	late := q.isLate(r)
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.jobs[r.job]
	if j == nil {
		return reply{status: http.StatusNotFound}
	}
	if late {
		q.violation("job %s: progress after its result", r.job)
	}
	j.Progress = append(j.Progress, time.Now())
	q.wake()
	return reply{status: http.StatusOK}
}

// giveUpNotice is how long the end of a connection may take to be noticed. It has
// arrived by then, and is shorter than the time that a worker gives to a call.
const giveUpNotice = time.Second

// isLate tells whether a call about the job's course comes after its result, and its
// worker still waits for the answer. One that its worker had given up before it sent
// the result may be read late: its bytes stand in the kernel, and the end of the
// connection behind them, which the server notices a moment after the call.
func (q *Queue) isLate(r request) bool {
	q.mu.Lock()
	j := q.jobs[r.job]
	over := j != nil && j.isOver()
	q.mu.Unlock()
	return over && wait(r.Request, giveUpNotice)
}

// isOver tells whether nothing more is to be heard of the job's course. One that was
// handed out again since its result may be run again.
func (j *Job) isOver() bool {
	if j.Outcome == nil || j.Outcome.Status == Cancelled {
		return false
	}
	return !slices.ContainsFunc(j.Handouts, func(h Handout) bool { return h.At.After(j.Outcome.At) })
}

// chunkLimit is the largest part of an output, as RunPod has it.
const chunkLimit = 1 << 20

// stream takes down a part of a job's output.
func (q *Queue) stream(r request) reply {
	late := q.isLate(r)
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.jobs[r.job]
	if j == nil {
		return reply{status: http.StatusNotFound}
	}
	part, err := r.result, r.odd
	switch {
	case err != nil || len(part.Output) == 0 || part.Status != "" || len(part.Error) > 0:
		q.violation("job %s: a part of its output is not {\"output\": ...}: %v", r.job, err)
	case len(r.body) > chunkLimit:
		q.violation("job %s: a part of its output has %d bytes", r.job, len(r.body))
	case late:
		q.violation("job %s: a part of its output after its result", r.job)
	}
	j.Stream = append(j.Stream, Chunk{At: time.Now(), Output: part.Output})
	q.wake()
	return reply{status: http.StatusOK}
}

// done accepts the result of a job.
func (q *Queue) done(r request) reply {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.wake()
	j := q.jobs[r.job]
	if j == nil {
		return reply{status: http.StatusNotFound}
	}
	sum := sha256.Sum256(r.body)
	p := Post{At: time.Now(), Worker: r.worker, Size: int64(len(r.body)), SHA256: hex.EncodeToString(sum[:])}
	status := q.judge(j, &p, r)
	j.Posts = append(j.Posts, p)
	return reply{status: status}
}

// judge decides about a result, in the order in which a queue looks at it.
func (q *Queue) judge(j *Job, p *Post, x request) (status int) {
	p.Verdict = rejected
	if q.cfg.ResultLimit > 0 && p.Size > q.cfg.ResultLimit {
		return cmp.Or(q.cfg.LimitStatus, http.StatusRequestEntityTooLarge)
	}
	if !j.heldBy(p.Worker) {
		q.violation("job %s: has a result from worker %s, which never had it", j.ID, p.Worker)
	}
	r := x.result
	if x.odd != nil {
		q.violation("job %s: its result %v", j.ID, x.odd)
		return http.StatusBadRequest
	}
	if j.Outcome != nil {
		p.Verdict = duplicate
		return cmp.Or(q.cfg.EndedStatus, http.StatusOK)
	}
	p.Verdict = accepted
	j.Outcome = q.outcome(j.ID, r, p)
	if r.StopPod {
		q.gone[p.Worker] = true
	}
	if q.cfg.Result != nil {
		if err := q.cfg.Result(j.ID, x.body); err != nil {
			q.violation("job %s: %v", j.ID, err)
		}
		j.Outcome.Output = nil
	}
	return http.StatusOK
}

// outcome makes of a result what a client of the queue would see.
func (q *Queue) outcome(id string, r result, p *Post) *Outcome {
	o := &Outcome{
		Status: Completed, Output: r.Output, StopPod: r.StopPod,
		Worker: p.Worker, Size: p.Size, SHA256: p.SHA256, At: p.At,
	}
	empty := func(raw json.RawMessage) bool {
		return slices.Contains([]string{``, `null`, `""`, `{}`, `[]`}, string(raw))
	}
	switch {
	case !empty(r.Error):
		o.Status = Failed
		if json.Unmarshal(r.Error, &o.Error) != nil {
			q.violation("job %s: its error is not a string", id)
		}
	case empty(r.Output):
		q.violation("job %s: completed with nothing", id)
	}
	return o
}

func (j *Job) heldBy(worker string) bool {
	for _, h := range j.Handouts {
		if h.Worker == worker && !h.Torn {
			return true
		}
	}
	return false
}
