package localapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// attend bounds how much a client sends and how long it pauses, tells the
// connection for whom we wait, and logs the request.
func (s *Server) attend(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		deadlines := http.NewResponseController(w)
		if r.ContentLength == 0 {
			connOf(r).answering()
		} else {
			// Before it sends an answer, net/http reads a little of a body that
			// nobody read, in search of the next request.
			_ = deadlines.SetReadDeadline(begun.Add(drainTimeout))
			sent := &body{
				ReadCloser: http.MaxBytesReader(w, r.Body, s.cfg.MaxBody),
				deadlines:  deadlines,
				timeout:    s.cfg.IdleTimeout,
				conn:       connOf(r),
			}
			r = r.WithContext(r.Context()) // net/http looks at the body of the original
			r.Body = sent
		}
		told := &recorder{ResponseWriter: w}
		next.ServeHTTP(told, r)
		s.log.Debug("request", zap.String("method", r.Method), zap.String("path", r.URL.Path),
			zap.Int("status", told.status), zap.Duration("elapsed", time.Since(begun)))
	})
}

// drainTimeout is for a body that nobody wants to read.
const drainTimeout = time.Second

// body reads what the client sends, with the same time for each piece.
type body struct {
	io.ReadCloser
	deadlines *http.ResponseController
	timeout   time.Duration
	conn      *conn
}

func (b *body) Read(p []byte) (int, error) {
	_ = b.deadlines.SetReadDeadline(time.Now().Add(b.timeout))
	n, err := b.ReadCloser.Read(p)
	switch tooMuch := (*http.MaxBytesError)(nil); {
	case err == io.EOF:
		b.conn.answering()
	case errors.As(err, &tooMuch):
		_ = b.deadlines.SetReadDeadline(time.Now()) // net/http would read on
	}
	return n, err
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
