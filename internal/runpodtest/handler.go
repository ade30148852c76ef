package runpodtest

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// request is a call of a worker, taken apart.
type request struct {
	*http.Request
	call   Call
	worker string
	job    string
	batch  bool
	body   []byte
	result result // what the body holds
	odd    error  // what is wrong with the body
}

// reply is the answer to a call.
type reply struct {
	status int
	body   []byte
	handed []handed
}

// handed is a hand-out of a job, by its place.
type handed struct {
	job *Job
	n   int
}

// ServeHTTP answers one call of a worker, or breaks it as the faults say.
func (q *Queue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := q.parse(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if req.call == "" {
		http.NotFound(w, r)
		return
	}
	f := q.fault(req.call)
	if f != nil && (f.Status >= http.StatusBadRequest || f.Cut) {
		q.failing(req)
	}
	if f != nil && f.Hang > 0 && !wait(r, f.Hang) {
		return
	}
	if f == nil || f.Status == 0 && !f.Cut {
		a := q.answer(req)
		if f != nil && f.Late > 0 && !wait(r, f.Late) {
			q.torn(req, a)
			return
		}
		q.write(w, req, a)
		return
	}
	var act reply
	if f.Act {
		act = q.answer(req)
		q.torn(req, act)
	}
	if f.Cut {
		q.cutAnswer(w, act)
		return
	}
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body) // a worker that is gone misses nothing
}

// parse takes a call apart. Its path is /v2/<endpoint>/<call>/<worker>[/<job>].
func (q *Queue) parse(r *http.Request) (request, error) {
	req := request{Request: r}
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for i, p := range parts {
		name, err := url.PathUnescape(p)
		if err != nil {
			return req, err
		}
		parts[i] = name
	}
	if len(parts) < 4 {
		return req, nil
	}
	req.worker = parts[3]
	switch parts[2] {
	case "job-take":
		req.call = TakeJobs
	case "job-take-batch":
		req.call, req.batch = TakeJobs, true
	case "job-stop":
		if !q.cfg.Waverless {
			req.call = StopJobs
		}
	case "ping":
		req.call = Beat
	case "job-done":
		return q.parseResult(req, parts[4:])
	case "job-stream":
		req, err := q.parseResult(req, parts[4:])
		req.call = Stream
		return req, err
	}
	return req, nil
}

func (q *Queue) parseResult(req request, rest []string) (request, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return req, err
	}
	req.call, req.body = Done, body
	req.result, req.odd = parseBody(body)
	if req.odd == nil && req.result.Status == "IN_PROGRESS" {
		req.call = Progress
	}
	header := req.Header.Get("X-Request-ID")
	req.job = header
	if !q.cfg.Waverless && len(rest) > 0 {
		req.job = rest[0]
	}
	if req.job != header {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.violation("job %s: its result is marked as that of job %s", req.job, header)
	}
	return req, nil
}

// answer lets a call take effect.
func (q *Queue) answer(r request) reply {
	if q.cfg.APIKey != "" && r.Header.Get("Authorization") != q.cfg.APIKey {
		return reply{status: http.StatusUnauthorized}
	}
	switch r.call {
	case TakeJobs:
		return q.take(r)
	case StopJobs:
		return q.stop(r)
	case Beat:
		return q.ping(r)
	case Progress:
		return q.progress(r)
	case Stream:
		return q.stream(r)
	}
	return q.done(r)
}

func (q *Queue) write(w http.ResponseWriter, r request, a reply) {
	if a.status == 0 {
		return
	}
	if len(a.body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.status == http.StatusNoContent {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(a.status)
	_, err := w.Write(a.body)
	if errors.Is(err, http.ErrBodyNotAllowed) {
		err = nil
	}
	if err = errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
		q.torn(r, a)
	}
}

// cutAnswer sends half of an answer and cuts the connection.
func (q *Queue) cutAnswer(w http.ResponseWriter, a reply) {
	if len(a.body) > 1 {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body[:len(a.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	cut(w)
}

// torn takes down that the answer to a call does not arrive.
func (q *Queue) torn(r request, a reply) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range a.handed {
		h.job.Handouts[h.n].Torn = true
	}
	if j := q.jobs[r.job]; j != nil && r.call == Done {
		j.lost++
	}
}

// wait waits for d and reports whether the worker was as patient.
func wait(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
