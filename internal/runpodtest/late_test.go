package runpodtest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

// Progress that its worker gave up before the result, and that the server reads only
// after it, is nobody's fault: the bytes stand in the kernel, with the end of the
// connection behind them.
func TestProgressThatWasGivenUpMayComeLate(t *testing.T) {
	s := NewServer(t, Config{})
	const body = `{"status":"IN_PROGRESS","output":1}`
	for i := range 200 {
		id := fmt.Sprint("job-", i)
		s.Submit(id, `{}`)
		takes(s.Queue, "w")
		posts(s.Queue, "w", id, good)
		c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(c, "POST /v2/simulated/job-done/w/%s HTTP/1.1\r\nHost: queue\r\nX-Request-ID: %s\r\nContent-Length: %d\r\n\r\n%s", id, id, len(body), body)
		if err = errors.Join(err, c.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WaitLedger(t.Context(), func(l Ledger) bool {
		for _, j := range l.Jobs {
			if len(j.Progress) == 0 {
				return false
			}
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}
