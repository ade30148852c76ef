package localapi

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueuedJobExpiresAfterItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{})
		later := a.inBackground("POST", "/runsync", `{"input":{},"policy":{"ttl":20000}}`)
		begun := time.Now()
		got := (<-later).job(t)
		if waited := time.Since(begun).Round(time.Second); waited != 20*time.Second {
			t.Errorf("answered after %v, want 20 s", waited)
		}
		if got.Status != timedOut || !strings.Contains(got.Error, "ttl of 20s") || !strings.Contains(string(got.Output), "expired") {
			t.Errorf("answer = %+v, output %s", got, got.Output)
		}
	})
}

func TestTakeSkipsExpiredJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(10, megabyte, Config{}.withDefaults().Keep)
		for id, ttl := range map[string]time.Duration{"short": time.Second, "long": time.Minute} {
			if _, err := s.add(id, request{policy: policy{ttl: ttl}}, false); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if jobs, _ := s.take(10); len(jobs) != 1 || jobs[0].ID != "long" {
			t.Errorf("take = %v, want the long one", jobs)
		}
	})
}

// TestFault_A6_OldResultIsGone: an id that never was answers 404, one whose
// result is older than an hour answers 410.
func TestFault_A6_OldResultIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := serveInMemory(t, Config{})
		id := a.submitJob()
		a.takeOne()
		a.done(image(id, 1))
		time.Sleep(time.Hour - time.Second)
		a.want(http.StatusOK, "GET", "/status/"+id, "")
		time.Sleep(2 * time.Second)
		for _, path := range []string{"/status/", "/stream/", "/cancel/", "/retry/"} {
			a.want(http.StatusGone, "POST", path+id, "")
			a.want(http.StatusNotFound, "POST", path+"nobody", "")
		}
	})
}

// TestFault_A6_KeptResultsAreBounded: by default at most 1,000 ended jobs and
// 256 MB of memory are kept, the oldest go first.
func TestFault_A6_KeptResultsAreBounded(t *testing.T) {
	def := Config{}.withDefaults().Keep
	tests := []struct {
		name       string
		keep       Keep
		jobs       int
		size       int64
		file       string
		wantJobs   int
		wantMemory int64
		wantDisk   int64
	}{
		{"by number", def, 1005, 1, "", 1000, 1000, 0},
		{"by memory", def, 10, 100 * megabyte, "", 2, 200 * megabyte, 0},
		{"by disk", Keep{Jobs: 10, Age: time.Hour, Memory: 1, Disk: 100}, 10, 30, "/nowhere/x", 3, 0, 90},
		{"never the last one", Keep{Jobs: 10, Age: time.Hour, Memory: 1, Disk: 1}, 10, 30, "", 1, 30, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(1, megabyte, tt.keep)
			for i := range tt.jobs {
				id := strconv.Itoa(i)
				if _, err := s.add(id, request{policy: policy{ttl: time.Hour}}, false); err != nil {
					t.Fatal(err)
				}
				s.take(1)
				s.finish(id, outcome{state: completed, output: &document{path: tt.file, size: tt.size}})
				s.sweep()
			}
			if len(s.ended) != tt.wantJobs || s.memory != tt.wantMemory || s.disk != tt.wantDisk {
				t.Errorf("kept %d jobs, memory %d, disk %d, want %d, %d, %d",
					len(s.ended), s.memory, s.disk, tt.wantJobs, tt.wantMemory, tt.wantDisk)
			}
			if _, err := s.view("0"); err != errGone {
				t.Errorf("oldest job: %v, want %v", err, errGone)
			}
			if _, err := s.view(strconv.Itoa(tt.jobs - 1)); err != nil {
				t.Errorf("last job: %v", err)
			}
		})
	}
}

func TestInputsAreReleasedWhereverAJobEnds(t *testing.T) {
	const size = 100
	input := []byte(strings.Repeat("x", size))
	ends := map[string]func(*store){
		"completed": func(s *store) { s.take(1); s.finish("a", outcome{state: completed}) },
		"failed":    func(s *store) { s.take(1); s.finish("a", outcome{state: failed}) },
		"cancelled": func(s *store) { _, _ = s.cancel("a") },
		"abandoned": func(s *store) { s.take(1); _, _ = s.cancel("a") },
		"purged":    func(s *store) { s.purge() },
		"closed":    func(s *store) { s.close(outcome{state: failed}) },
		"retried":   func(s *store) { s.take(1); s.finish("a", outcome{state: failed}); _, _ = s.retry("a"); s.purge() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			s := newStore(1, size, Config{}.withDefaults().Keep)
			if _, err := s.add("a", request{input: input, policy: policy{ttl: time.Hour}}, false); err != nil {
				t.Fatal(err)
			}
			if s.inputs.TryAcquire(1) {
				t.Error("the input of a queued job takes no memory")
			}
			end(s)
			if !s.inputs.TryAcquire(size) {
				t.Error("the input of an ended job still takes memory")
			}
			want := int64(0)
			if name == "failed" || name == "closed" {
				want = size // kept for a retry
			}
			if s.memory != want {
				t.Errorf("ended jobs occupy %d bytes, want %d", s.memory, want)
			}
		})
	}
}

func TestForgottenIDsAreBounded(t *testing.T) {
	var f forgotten
	for i := range maxForgotten + 1 {
		f.add(strconv.Itoa(i))
	}
	if f.has("0") || !f.has("1") || !f.has(strconv.Itoa(maxForgotten)) || len(f.ids) != maxForgotten {
		t.Errorf("kept %d ids, oldest %s", len(f.ids), f.order[0])
	}
}
