package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// accepted submits jobs until the program ends, and sends the ids of those that
// were answered.
func (p *program) accepted(n int) (ids []string) {
	for i := range n {
		resp, err := client.Post(p.api+"/run", "application/json", strings.NewReader(`{"input":`+slow(0.05, i)+`}`))
		if err != nil {
			return ids
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if _, after, found := strings.Cut(string(text), `"id":"`); err == nil && resp.StatusCode == http.StatusOK && found {
			id, _, _ := strings.Cut(after, `"`)
			ids = append(ids, id)
		}
	}
	return ids
}

// The whole pod is killed in random moments, again and again, while clients
// submit jobs: each job that was answered with an id completes in the end, and
// its picture is there.
func TestAcceptedJobsSurviveSIGKILL(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	env := with(local, "DATA_DIR", t.TempDir(), "API_PORT", freePort(t))
	begin := func() *program {
		p := start(t, options{env: env, pid1: true})
		p.api = "http://127.0.0.1:" + env["API_PORT"]
		p.waitLine("local API listening")
		return p
	}
	var all []string
	const kills = 12
	for range kills {
		p := begin()
		var clients sync.WaitGroup
		var mu sync.Mutex
		for range 3 {
			clients.Go(func() {
				ids := p.accepted(4)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, ids...)
			})
		}
		// The moment is what is random here, not what is waited for.
		<-time.After(time.Duration(rnd.IntN(1000)) * time.Millisecond)
		p.signal(syscall.SIGKILL) // to the first process of a namespace: all of it ends
		p.exit()
		clients.Wait()
	}
	p := begin()
	if len(all) == 0 {
		t.Fatal("no job was ever accepted")
	}
	lost := 0
	for _, id := range all {
		a := p.result(id)
		switch {
		case a.Status == "FAILED" && a.Output.Cause == "pod_lost":
			lost++ // was there each time
		case a.Status != "COMPLETED":
			t.Errorf("job %s = %+v", id, a)
		default:
			resp, err := client.Get(fmt.Sprintf("%s/jobs/%s/files/0", p.api, id))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, resp.Body); err != nil || n == 0 || resp.StatusCode != http.StatusOK {
				t.Errorf("picture of job %s: %d, %d bytes, %v", id, resp.StatusCode, n, err)
			}
			resp.Body.Close()
		}
	}
	if lost > kills/3 {
		t.Errorf("%d jobs were running at three kills each, of %d", lost, kills)
	}
	t.Logf("%d jobs were accepted over %d kills, %d were running at three of them", len(all), kills, lost)
}
