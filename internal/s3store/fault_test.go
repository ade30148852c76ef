package s3store

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

type fault func(n int, w http.ResponseWriter, r *http.Request) bool

// always answers every request with an error.
func always(status int, code string) fault {
	return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, status, code)
		return true
	}
}

// first lets f answer the first n requests.
func first(n int, f fault) fault {
	return func(i int, w http.ResponseWriter, r *http.Request) bool { return i <= n && f(i, w, r) }
}

// hangUp breaks the connection when so many bytes of the body have come.
func hangUp(after int64) fault {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.CopyN(io.Discard, r.Body, after)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
		return true
	}
}

// stall takes so many bytes of the body and then nothing until the test ends.
func stall(after int64) fault {
	return func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		_, _ = io.CopyN(io.Discard, r.Body, after)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// expectError returns the error of a Put that had to fail, and checks that it
// tells no secret.
func expectError(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Put: %v, want an *Error", err)
	}
	if hasSecret(err.Error()) || strings.Contains(err.Error(), "X-Amz-") {
		t.Errorf("error tells too much: %v", err)
	}
	return e
}
