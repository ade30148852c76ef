package runpod_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

func TestHeartbeatNamesJobsFromHandoutToResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{APIKey: "key"})
		for _, id := range []string{"b", "a", "c"} {
			q.Submit(id, `{}`)
		}
		c, _ := start(t, config(q))
		take(t, c, 2)
		<-time.After(11 * time.Second)
		finish(t, c, completed("b"))
		<-time.After(10 * time.Second)
		finish(t, c, completed("a"))
		<-time.After(10 * time.Second)
		var got []string
		for _, p := range q.Ledger().Pings {
			if p.Version != "1.2.3" || p.Worker != "worker-1" {
				t.Errorf("ping %+v", p)
			}
			got = append(got, strings.Join(p.Jobs, ","))
		}
		if want := []string{"", "a,b", "a", ""}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("pings named %q, want %q", got, want)
		}
	})
}

func TestNoHeartbeatWithoutKeyOrURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{})
		start(t, config(q))
		cfg := config(q)
		cfg.APIKey, cfg.PingURL.URL = "key", ""
		c, _ := start(t, cfg)
		<-time.After(time.Minute)
		if err := c.Unhealthy(t.Context(), "gpu", "gone"); err != nil {
			t.Errorf("Unhealthy = %v", err)
		}
		if n := len(q.Ledger().Pings); n != 0 {
			t.Errorf("%d heartbeats, want none", n)
		}
	})
}

// A heartbeat that fails or hangs holds up no job, one is out at a time, and it is back within a period of its recovery.
func TestFault_J11_HeartbeatDown(t *testing.T) {
	const outage = 10 * time.Minute
	faults := map[string]runpodtest.Fault{
		"500": {Status: 500}, "429": {Status: 429}, "reset": {Cut: true}, "404": {Status: 404}, "hang": {Hang: 19 * time.Second, Status: 500}, "silence": {Hang: time.Hour},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(t, runpodtest.Config{APIKey: "key", Hold: time.Minute})
				f.Call, f.For = runpodtest.Beat, outage
				q.Inject(f)
				c, logs := start(t, config(q))
				<-time.After(2 * time.Second)
				for i := range 5 {
					id := fmt.Sprint("job-", i)
					begun := time.Now()
					q.Submit(id, `{}`)
					takeOne(t, c, id)
					finish(t, c, completed(id))
					if took := time.Since(begun); took > 0 {
						t.Errorf("a job took %s longer", took)
					}
					<-time.After(time.Minute)
				}
				n := q.Ledger().Faults[runpodtest.Beat]
				if n < 14 || n > 250 {
					t.Errorf("%d heartbeats in 5 minutes", n)
				}
				<-time.After(outage/2 - 2*time.Second)
				begun := time.Now()
				if err := q.WaitLedger(t.Context(), func(l runpodtest.Ledger) bool { return len(l.Pings) > 0 }); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took > 10*time.Second && f.Hang == 0 || took > 20*time.Second {
					t.Errorf("the first heartbeat came %s after the outage", took)
				}
				if n := count(logs, "queue does not answer as it should, trying on"); n != 1 {
					t.Errorf("the log names the outage %d times", n)
				}
				check(t, q)
			})
		})
	}
}

func TestUnhealthyTellsCheckAndReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, runpodtest.Config{APIKey: "key"})
		c, _ := start(t, config(q))
		if err := c.Unhealthy(t.Context(), "gpu", strings.Repeat("ж&", 200)); err != nil {
			t.Fatal(err)
		}
		var got runpodtest.Ping
		for _, p := range q.Ledger().Pings {
			if p.Unhealthy != "" {
				got = p
			}
		}
		if got.Unhealthy != "gpu" || got.Reason != strings.Repeat("ж&", 128) {
			t.Errorf("told %q, %q", got.Unhealthy, got.Reason)
		}
		q.Inject(runpodtest.Fault{Call: runpodtest.Beat, For: time.Hour, Hang: time.Hour})
		begun := time.Now()
		if err := c.Unhealthy(t.Context(), "gpu", "gone"); err == nil || time.Since(begun) > 2*time.Second {
			t.Errorf("Unhealthy = %v after %s, want an error after 2s", err, time.Since(begun))
		}
	})
}
