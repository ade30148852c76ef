package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// atFullDisk starts a pod at a queue whose ComfyUI has 16 MB for its outputs, all
// but full, with three jobs waiting.
func atFullDisk(t *testing.T, more ...string) (*program, *runpodtest.Server) {
	t.Helper()
	q := runpodtest.NewServer(t, runpodtest.Config{APIKey: queueKey, Hold: hold})
	p := mounted(t, "tmpfs output size=16m", with(with(q.Env(), "MIN_FREE_MB", "8"), more...))
	p.waitReady()
	p.put("output/of-somebody-else.bin", 12<<20)
	for i, id := range []string{"a", "b", "c"} {
		q.Submit(id, picture(i))
	}
	return p, q
}

// A pod whose disk is full fails one job as disk_full and leaves the others in the queue: it is not ready, and says why; when there is room again it does them.
func TestFault_Z1_FullDiskDoesNotEmptyTheQueue(t *testing.T) {
	t.Parallel()
	p, q := atFullDisk(t)
	if o := ends(t, q, "a"); causeOf(o) != "disk_full" {
		t.Errorf("job a: %+v", o)
	}
	var ready struct {
		Ready  bool
		Reason string
	}
	p.wait("/readyz tells", func() bool { return p.get(p.status+"/readyz", &ready) == http.StatusServiceUnavailable })
	if !strings.Contains(ready.Reason, p.dir+"/output has ") {
		t.Errorf("/readyz = %+v, want the full directory", ready)
	}
	if l := q.Ledger(); handed(l, "b")+handed(l, "c") != 0 {
		t.Error("a job was taken though there is no room for it")
	}
	if err := os.Remove(p.inside("output/of-somebody-else.bin")); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"b", "c"} {
		if o := ends(t, q, id); o.Status != runpodtest.Completed {
			t.Errorf("job %s: %+v", id, o)
		}
	}
	p.wait("/readyz is good", func() bool { return p.get(p.status+"/readyz", &ready) == http.StatusOK })
	checked(t, q)
}

// A disk that stays full for longer than UNFIT_LIMIT ends the pod with 75; before, the queue is told that it is unhealthy and why, and the jobs that wait are left to other pods.
func TestFault_Z1_PodWithAFullDiskIsReplaced(t *testing.T) {
	t.Parallel()
	p, q := atFullDisk(t, "UNFIT_LIMIT", "1s")
	if code := p.exit(); code != exitGaveUp {
		t.Errorf("exit code = %d, want %d", code, exitGaveUp)
	}
	told := false
	for _, ping := range q.Ledger().Pings {
		told = told || ping.Unhealthy == "pod" && strings.Contains(ping.Reason, "no room")
	}
	if !told {
		t.Errorf("the queue was not told: %+v", q.Ledger().Pings)
	}
	if l := q.Ledger(); l.Waiting != 2 || causeOf(*q.Job("a").Outcome) != "disk_full" {
		t.Errorf("%d jobs wait, want two; job a: %+v", l.Waiting, q.Job("a"))
	}
	checked(t, q)
}
