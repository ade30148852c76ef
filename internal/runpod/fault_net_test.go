package runpod_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/conntest"
	"github.com/comfyvisor/comfyvisor/internal/runpod"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A certificate that is expired, of another host or of an unknown signer is an error that names host and reason; nothing is sent in the clear.
func TestFault_T5_CertificateOfTheQueue(t *testing.T) {
	future := time.Now().Add(time.Hour)
	tests := []struct {
		name, host string
		until      time.Time
		says       string
	}{
		{"expired", "queue.test", time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC),
			"x509: certificate has expired or is not yet valid: current time NOW is after 2020-01-02T03:04:05Z"},
		{"other host", "elsewhere.test", future,
			"x509: certificate is valid for elsewhere.test, not queue.test"},
		{"unknown signer", "queue.test", future,
			"x509: certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dial, plain := conntest.TLSServer(t, conntest.Certificate(t, tt.host, tt.until))
			const url = "https://queue.test/v2/ep/job-take/hunter2"
			c, _ := start(t, runpod.Config{
				TakeURL: runpod.Template{URL: url}, DoneURL: runpod.Template{URL: url}, PingURL: runpod.Template{URL: url},
				APIKey: "hunter2", ResultDeadline: time.Millisecond, Dial: dial,
			})
			err := c.Done(t.Context(), completed("job"))
			if err == nil {
				t.Fatal("the result was delivered")
			}
			want := "https://queue.test: tls: failed to verify certificate: " + tt.says
			if got := conntest.Timeless(err.Error()); !strings.HasSuffix(got, want) {
				t.Errorf("Done = %s\nwant it to end in %s", got, want)
			}
			takeInVain(t, c, 200*time.Millisecond)
			if n := plain.Load(); n > 0 {
				t.Errorf("%d connections were in the clear", n)
			}
		})
	}
}

// A connection that is not used is closed within 90 s, so that the queue's name is looked up again.
func TestFault_T3_IdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		defer q.Close()
		cfg := config(q)
		cfg.PingURL = runpod.Template{} // its heartbeat would use the connection
		dial, open := conntest.Counted(q.Dial)
		cfg.Dial = dial
		c, err := runpod.New(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		q.Submit("job", `{}`)
		takeOne(t, c, "job")
		finish(t, c, completed("job"))
		if open.Load() == 0 {
			t.Fatal("no connection is kept")
		}
		<-time.After(90 * time.Second)
		synctest.Wait()
		if n := open.Load(); n != 0 {
			t.Errorf("%d connections are open after 90 s without use", n)
		}
	})
}
