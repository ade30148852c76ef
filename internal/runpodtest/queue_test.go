package runpodtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call sends one request to q as worker w and returns status and body.
func call(q *Queue, method, path, body string, header ...string) (int, string) {
	r := httptest.NewRequest(method, "/v2/simulated"+path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	q.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func takes(q *Queue, worker string) (int, string) { return call(q, "GET", "/job-take/"+worker, "") }

func posts(q *Queue, worker, job, body string) int {
	status, _ := call(q, "POST", "/job-done/"+worker+"/"+job+"?isStream=false", body, "X-Request-ID", job)
	return status
}

const good = `{"output":{"images":[]}}`

// TestCheckNamesEachViolation makes a worker misbehave in every way that Check
// promises to name.
func TestCheckNamesEachViolation(t *testing.T) {
	tests := []struct {
		name  string
		play  func(q *Queue)
		wants string // in the error, "" for none
	}{
		{"all is well", func(q *Queue) {
			posts(q, "w", "a", `{"status":"IN_PROGRESS","output":1}`)
			posts(q, "w", "a", good)
		}, ""},
		{"failed", func(q *Queue) { posts(q, "w", "a", `{"error":"no","output":{}}`) }, ""},
		{"a pair of surrogates", func(q *Queue) { posts(q, "w", "a", `{"output":"\ud83d\ude00 \\ud800"}`) }, ""},
		{"never ended", func(*Queue) {}, "job a: lost"},
		{"done twice", func(q *Queue) {
			posts(q, "w", "a", good)
			posts(q, "w", "a", good)
		}, "job a: done 2 times, 1 can be excused"},
		{"done twice after a lost answer", func(q *Queue) {
			q.Inject(Fault{Call: Done, Act: true, Status: 502})
			posts(q, "w", "a", good)
			posts(q, "w", "a", good)
		}, ""},
		{"done twice in two ways", func(q *Queue) {
			q.Inject(Fault{Call: Done, Act: true, Status: 502})
			posts(q, "w", "a", good)
			posts(q, "w", "a", `{"error":"no"}`)
		}, "job a: its results differ"},
		{"another worker's job", func(q *Queue) { posts(q, "x", "a", good) }, "from worker x, which never had it"},
		{"another job's id", func(q *Queue) {
			call(q, "POST", "/job-done/w/a", good, "X-Request-ID", "b")
		}, "marked as that of job b"},
		{"another job's content", func(q *Queue) {
			posts(q, "w", "a", `{"output":"tag of b"}`)
		}, "job a: foreign tag"},
		{"completed with nothing", func(q *Queue) { posts(q, "w", "a", `{}`) }, "job a: completed with nothing"},
		{"completed with empty output", func(q *Queue) { posts(q, "w", "a", `{"output":{},"error":""}`) }, "completed with nothing"},
		{"error is no string", func(q *Queue) { posts(q, "w", "a", `{"error":{"message":"no"}}`) }, "error is not a string"},
		{"progress after the result", func(q *Queue) {
			posts(q, "w", "a", good)
			posts(q, "w", "a", `{"status":"IN_PROGRESS","output":1}`)
		}, "job a: progress after its result"},
		{"no JSON", func(q *Queue) { posts(q, "w", "a", `{"output":NaN}`) }, "is not a result"},
		{"two documents", func(q *Queue) { posts(q, "w", "a", good+good) }, "goes on after its end"},
		{"unknown field", func(q *Queue) { posts(q, "w", "a", `{"outputs":1}`) }, "is not a result"},
		{"no UTF-8", func(q *Queue) { posts(q, "w", "a", "{\"output\":\"\xff\"}") }, "is not UTF-8"},
		{"lone surrogate", func(q *Queue) { posts(q, "w", "a", `{"output":"\ud800"}`) }, "lone surrogate"},
		{"take after stopPod", func(q *Queue) {
			posts(q, "w", "a", `{"output":1,"stopPod":true}`)
			takes(q, "w")
		}, "worker w: takes after it asked to be stopped"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := New(Config{Result: func(job string, body []byte) error {
				if strings.Contains(string(body), "tag of") && !strings.Contains(string(body), "tag of "+job) {
					return errors.New("foreign tag")
				}
				return nil
			}})
			q.Submit("a", `{}`)
			if status, body := takes(q, "w"); status != 200 || !json.Valid([]byte(body)) {
				t.Fatalf("take was answered %d %s", status, body)
			}
			tt.play(q)
			err := q.Check()
			if tt.wants == "" && err != nil || tt.wants != "" && (err == nil || !strings.Contains(err.Error(), tt.wants)) {
				t.Errorf("Check = %v, want %q", err, tt.wants)
			}
		})
	}
}

func TestTakeHoldsUntilThereIsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Hold: time.Minute})
		begun := time.Now()
		if status, _ := takes(q, "w"); status != 204 || time.Since(begun) != time.Minute {
			t.Errorf("answered %d after %s", status, time.Since(begun))
		}
		begun = time.Now()
		time.AfterFunc(time.Second, func() { q.Submit("a", `{"n":1}`) })
		status, body := takes(q, "w")
		if status != 200 || body != `{"id":"a","input":{"n":1}}` || time.Since(begun) != time.Second {
			t.Errorf("answered %d %s after %s", status, body, time.Since(begun))
		}
	})
}

func TestBatchHandsOutUpToItsSize(t *testing.T) {
	q := New(Config{})
	for _, id := range []string{"a", "b", "c"} {
		q.Submit(id, `1`)
	}
	for _, want := range []string{`[{"id":"a","input":1},{"id":"b","input":1}]`, `[{"id":"c","input":1}]`, ``} {
		if _, body := call(q, "GET", "/job-take-batch/w?batch_size=2", ""); body != want {
			t.Errorf("handed out %s, want %s", body, want)
		}
	}
}

func TestLeaseIsKeptByHeartbeatsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Hold: time.Hour, Lease: 30 * time.Second})
		q.Submit("a", `{}`)
		takes(q, "w")
		for range 5 {
			<-time.After(20 * time.Second)
			call(q, "GET", "/ping/w?job_id=a,b", "")
		}
		begun := time.Now()
		if status, _ := takes(q, "x"); status != 200 || time.Since(begun) != 30*time.Second {
			t.Errorf("answered %d after %s, want the job after 30s", status, time.Since(begun))
		}
		if n := len(q.Job("a").Handouts); n != 2 {
			t.Errorf("handed out %d times, want 2", n)
		}
	})
}

func TestWaverlessIsStrange(t *testing.T) {
	q := New(Config{Waverless: true})
	q.Submit("a", `{}`)
	if status, _ := takes(q, "w"); status != 500 {
		t.Errorf("a take before the first heartbeat is answered %d, want 500", status)
	}
	call(q, "GET", "/ping/w", "")
	takes(q, "w")
	if status, _ := call(q, "GET", "/job-stop/w", ""); status != 404 {
		t.Errorf("the stop channel answers %d, want 404", status)
	}
	if status, _ := call(q, "POST", "/job-done/w", good, "X-Request-ID", "a"); status != 200 {
		t.Errorf("a result named by its header is answered %d", status)
	}
	if url := q.Env("http://q")["RUNPOD_WEBHOOK_GET_JOB"]; !strings.HasSuffix(url, "$ID?") {
		t.Errorf("take URL is %s", url)
	}
	if err := q.Check(); err != nil {
		t.Error(err)
	}
}

func TestStatuses(t *testing.T) {
	q := New(Config{APIKey: "key", ResultLimit: 100, EndedStatus: 409})
	q.Submit("a", `{}`)
	auth := []string{"Authorization", "key", "X-Request-ID", "a"}
	steps := []struct {
		method, path, body string
		header             []string
		want               int
	}{
		{"GET", "/job-take/w", "", nil, 401},
		{"GET", "/job-take/w", "", auth, 200},
		{"GET", "/job-take/w", "", auth, 204},
		{"GET", "/nothing/w", "", auth, 404},
		{"POST", "/job-done/w/a", `{"output":"` + strings.Repeat("x", 100) + `"}`, auth, 413},
		{"POST", "/job-done/w/a", `{`, auth, 400},
		{"POST", "/job-done/w/a", good, auth, 200},
		{"POST", "/job-done/w/a", good, auth, 409},
		{"POST", "/job-done/w/z", good, []string{"Authorization", "key", "X-Request-ID", "z"}, 404},
	}
	for _, s := range steps {
		if status, _ := call(q, s.method, s.path, s.body, s.header...); status != s.want {
			t.Errorf("%s %s is answered %d, want %d", s.method, s.path, status, s.want)
		}
	}
}

func TestStopNamesAJobOnceToTheWorkerThatHasIt(t *testing.T) {
	q := New(Config{})
	q.Submit("a", `{}`)
	takes(q, "w")
	q.Stop("a")
	for _, want := range []struct {
		worker string
		status int
		body   string
	}{{"x", 204, ""}, {"w", 200, `{"jobsToStop":["a"]}`}, {"w", 204, ""}} {
		if status, body := call(q, "GET", "/job-stop/"+want.worker, ""); status != want.status || body != want.body {
			t.Errorf("worker %s is told %d %s, want %d %s", want.worker, status, body, want.status, want.body)
		}
	}
	if o, err := q.Wait(t.Context(), "a"); err != nil || o.Status != Cancelled {
		t.Errorf("outcome %+v, %v", o, err)
	}
}

// TestFaultsTakeEffect goes over real sockets and pipes, where connections are
// cut for real.
func TestFaultsTakeEffect(t *testing.T) {
	tests := []struct {
		name   string
		fault  Fault
		status int    // 0 if there is to be no answer
		body   string // what must arrive
		handed int
	}{
		{"status", Fault{Status: 502, Body: "<html>", Header: http.Header{"Retry-After": {"7"}}}, 502, "<html>", 0},
		{"status, but handed out", Fault{Status: 502, Act: true}, 502, "", 1},
		{"cut", Fault{Cut: true}, 0, "", 0},
		{"cut, but handed out", Fault{Cut: true, Act: true}, 200, "broken", 1},
		{"late", Fault{Late: time.Millisecond}, 200, `{"id":"a","input":{}}`, 1},
		{"hang", Fault{Hang: time.Millisecond}, 200, `{"id":"a","input":{}}`, 1},
	}
	for name, open := range map[string]func(testing.TB, Config) *Server{"socket": NewServer, "pipe": NewPipeServer} {
		for _, tt := range tests {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				q := open(t, Config{})
				q.Submit("a", `{}`)
				tt.fault.Call = TakeJobs
				q.Inject(tt.fault)
				transport := &http.Transport{DialContext: q.Dial}
				defer transport.CloseIdleConnections()
				res, err := (&http.Client{Transport: transport}).Get(q.URL + "/v2/simulated/job-take/w")
				if (err != nil) != (tt.status == 0) {
					t.Fatalf("Get: %v, want status %d", err, tt.status)
				}
				if err == nil {
					defer res.Body.Close()
					body, err := io.ReadAll(res.Body)
					if res.StatusCode != tt.status || (err != nil) != (tt.body == "broken") || err == nil && string(body) != tt.body {
						t.Errorf("answered %d %q, %v", res.StatusCode, body, err)
					}
				}
				j := q.Job("a")
				if len(j.Handouts) != tt.handed || q.Ledger().Faults[TakeJobs] == 0 {
					t.Errorf("hand-outs %+v, faults %v", j.Handouts, q.Ledger().Faults)
				}
				if torn := tt.fault.Act; tt.handed > 0 && j.Handouts[0].Torn != torn {
					t.Errorf("torn is %v, want %v", j.Handouts[0].Torn, torn)
				}
			})
		}
	}
}

func TestFaultsForATimeAndForACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{})
		q.Inject(Fault{Call: Beat, Times: 2, Status: 500})
		q.Inject(Fault{Call: Beat, For: time.Minute, Status: 503})
		var got []int
		for range 4 {
			status, _ := call(q, "GET", "/ping/w", "")
			got = append(got, status)
		}
		<-time.After(time.Minute)
		status, _ := call(q, "GET", "/ping/w", "")
		got = append(got, status)
		for i, want := range []int{500, 500, 503, 503, 200} {
			if got[i] != want {
				t.Errorf("heartbeats are answered %v", got)
				break
			}
		}
		q.Inject(Fault{Call: Beat, For: time.Minute, Status: 503})
		q.Heal()
		if status, _ := call(q, "GET", "/ping/w", ""); status != 200 {
			t.Errorf("after Heal a heartbeat is answered %d", status)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	q := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Wait(ctx, "a"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "job a") {
		t.Errorf("Wait = %v", err)
	}
}
