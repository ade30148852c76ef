package localapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/payload"
)

// brief is the answer to a request that changed a job.
type brief struct {
	ID     string `json:"id"`
	Status state  `json:"status"`
}

// sendJob answers with all that v tells, its output streamed from where it is.
func (s *Server) sendJob(w http.ResponseWriter, code int, v view) {
	var output *payload.Body
	if v.output != nil {
		body, file, err := v.output.open()
		if err != nil {
			s.refuse(w, err)
			return
		}
		defer file.Close()
		output = body
	}
	answer, err := payload.Object(s.fields(v), "output", output)
	if err != nil {
		s.refuse(w, err)
		return
	}
	r := answer.Reader()
	defer r.Close()
	s.write(w, code, answer.Size(), r)
}

// fields are the answer without the output.
func (s *Server) fields(v view) map[string]any {
	fields := map[string]any{"id": v.id, "status": v.state}
	if v.failure != "" {
		fields["error"] = v.failure
	}
	if v.ran {
		fields["delayTime"] = v.delay.Milliseconds()
	}
	if v.ran && s.cfg.WorkerID != "" {
		fields["workerId"] = s.cfg.WorkerID
	}
	if v.ran && v.state.final() {
		fields["executionTime"] = v.execution.Milliseconds()
	}
	return fields
}

// send answers with v as JSON.
func (s *Server) send(w http.ResponseWriter, code int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.write(w, code, int64(len(text)), bytes.NewReader(text))
}

// refuse answers with the error, and with the status that belongs to it.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	code := statusOf(err)
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	text, merr := json.Marshal(map[string]string{"error": err.Error()})
	if merr != nil {
		text = []byte(`{}`)
	}
	s.write(w, code, int64(len(text)), bytes.NewReader(text))
}

// retryAfter is how many seconds a refused client is asked to wait: about one
// job's time.
const retryAfter = "5"

// badRequest is an error in what the client sent; it tells what.
type badRequest string

func (b badRequest) Error() string { return string(b) }

func statusOf(err error) int {
	if bad := badRequest(""); errors.As(err, &bad) {
		return http.StatusBadRequest
	}
	for _, known := range []struct {
		err  error
		code int
	}{
		{errUnauthorized, http.StatusUnauthorized},
		{errForeign, http.StatusForbidden},
		{errBody, http.StatusRequestEntityTooLarge},
		{errMediaType, http.StatusUnsupportedMediaType},
		{errUnknown, http.StatusNotFound},
		{errNoFile, http.StatusNotFound},
		{errGone, http.StatusGone},
		{errRetry, http.StatusConflict},
		{errRestart, http.StatusConflict},
		{errFull, http.StatusTooManyRequests},
		{errClosed, http.StatusServiceUnavailable},
		{os.ErrDeadlineExceeded, http.StatusRequestTimeout},
	} {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return http.StatusInternalServerError
}

// write sends the head of an answer and then size bytes of r. A client that
// takes nothing for Config.IdleTimeout loses its connection.
func (s *Server) write(w http.ResponseWriter, code int, size int64, r io.Reader) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	if _, err := io.Copy(&patientWriter{w, s.cfg.IdleTimeout}, r); err != nil {
		// The promised length is not reached, which makes net/http close the
		// connection: the client sees that the answer is cut.
		s.log.Debug("answer cut", zap.Error(err))
	}
}

// patientWriter gives the client the same time for each piece of an answer.
type patientWriter struct {
	w       http.ResponseWriter
	timeout time.Duration
}

func (p *patientWriter) Write(b []byte) (int, error) {
	if err := http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}
