package localapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/job"
	"github.com/comfyvisor/comfyvisor/internal/payload"
)

type listAnswer struct {
	Jobs []item
	More bool
}

func (a *api) list(query string) (got listAnswer) {
	a.t.Helper()
	if err := json.Unmarshal(a.want(http.StatusOK, "GET", "/jobs"+query, "").body, &got); err != nil {
		a.t.Fatal(err)
	}
	return got
}

func (a *api) detail(id string) (got detail) {
	a.t.Helper()
	if err := json.Unmarshal(a.want(http.StatusOK, "GET", "/jobs/"+id, "").body, &got); err != nil {
		a.t.Fatal(err)
	}
	return got
}

func ids(items []item) (ids []string) {
	for _, it := range items {
		ids = append(ids, it.ID)
	}
	return ids
}

func TestListOfJobs(t *testing.T) {
	a := serve(t, Config{})
	var all []string // newest first
	for range 5 {
		all = append([]string{a.submitJob()}, all...)
	}
	a.takeOne()
	a.done(image(all[4], 3))
	a.takeOne()
	a.done(failure(all[3], "node_failed"))
	tests := []struct {
		query string
		want  []string
		more  bool
	}{
		{"", all, false},
		{"?limit=2", all[:2], true},
		{"?limit=2&before=" + all[1], all[2:4], true},
		{"?limit=2&before=" + all[3], all[4:], false},
		{"?status=IN_QUEUE", all[:3], false},
		{"?status=FAILED,COMPLETED", all[3:], false},
		{"?status=FAILED&status=COMPLETED&limit=1", all[3:4], true},
		{"?status=CANCELLED", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			got := a.list(tt.query)
			if diff := cmp.Diff(tt.want, ids(got.Jobs)); diff != "" || got.More != tt.more {
				t.Errorf("more = %v, want %v; jobs (-want +got):\n%s", got.More, tt.more, diff)
			}
		})
	}
	for query, code := range map[string]int{
		"?limit=0": 400, "?limit=1001": 400, "?limit=x": 400, "?status=DONE": 400, "?before=nobody": 404,
	} {
		a.want(code, "GET", "/jobs"+query, "")
	}
}

// A job in a list tells what is known of it at each moment of its life.
func TestJobInAListThroughItsLife(t *testing.T) {
	a := serve(t, Config{SpoolDir: t.TempDir()})
	id := a.submitJob()
	one := func() item { return a.list("").Jobs[0] }

	if it := one(); it.Status != inQueue || it.CreatedAt == nil || it.StartedAt != nil || it.DelayTime != nil || it.Progress != nil || it.Files == nil {
		t.Errorf("queued: %+v", it)
	}
	a.takeOne()
	a.Progress(id, job.Progress{Percent: 40, Attempt: 2, Preview: &job.Preview{MIME: "image/png", Data: []byte("x")}})
	if it := one(); it.Status != inProgress || it.StartedAt == nil || it.DelayTime == nil || it.ExecutionTime != nil ||
		it.Progress == nil || it.Progress.Percent != 40 || it.Progress.Preview != nil || it.Attempts != 2 {
		t.Errorf("running: %+v", it)
	}
	if d := a.detail(id); d.Progress == nil || d.Progress.Preview == nil {
		t.Errorf("the job itself has no preview: %+v", d.Progress)
	}
	r := image(id, 3)
	r.Output.Files[0].MIME, r.Output.Files[0].Node, r.Output.Files[0].Subfolder = "image/png", "9", "sub"
	r.Output.Values = map[string]json.RawMessage{"5": json.RawMessage(`{"text":["hi"]}`)}
	r.Timings = job.Timings{Prepare: 1e6, Queue: 2e6, Execute: 3e6, Deliver: 4e6, Nodes: map[string]time.Duration{"9": 5e6}}
	a.done(r)
	it := one()
	want := []outputFile{{Filename: "a.png", Subfolder: "sub", Kind: "images", MIME: "image/png", Node: "9", Size: 3, URL: "/jobs/" + id + "/files/0"}}
	if diff := cmp.Diff(want, it.Files, cmp.AllowUnexported(outputFile{})); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if it.Status != completed || it.EndedAt == nil || it.ExecutionTime == nil || it.Error != nil || it.Cause != nil {
		t.Errorf("completed: %+v", it)
	}
	times := &payload.Timings{Prepare: 1, Queue: 2, Execute: 3, Deliver: 4, Nodes: map[string]int64{"9": 5}}
	if diff := cmp.Diff(times, it.Timings); diff != "" {
		t.Errorf("timings (-want +got):\n%s", diff)
	}
	if d := a.detail(id); string(d.Values) != `{"5":{"text":["hi"]}}` || string(d.Details) != "null" {
		t.Errorf("values = %s, details = %s", d.Values, d.Details)
	}
}

func TestFailedJobInAList(t *testing.T) {
	a := serve(t, Config{})
	id := a.submitJob()
	a.takeOne()
	r := failure(id, "node_failed")
	r.Failure.Details = map[string]string{"node": "3"}
	a.done(r)
	d := a.detail(id)
	if d.Status != failed || d.Error == nil || *d.Error != r.Failure.Message || d.Cause == nil || *d.Cause != "node_failed" || d.Attempts != 1 ||
		string(d.Details) != `{"node":"3"}` {
		t.Errorf("job = %+v, error %v, cause %v, details %s", d, d.Error, d.Cause, d.Details)
	}
	a.want(http.StatusOK, "POST", "/retry/"+id, "")
	if d := a.detail(id); d.Status != inQueue || d.Error != nil || d.Cause != nil || d.EndedAt != nil || d.Attempts != 0 {
		t.Errorf("retried job = %+v", d)
	}
	a.want(http.StatusNotFound, "GET", "/jobs/nobody", "")
}

// Neither before nor after its end does anybody see the keys that came with a job,
// or are the bytes of its files told again.
func TestInputIsShownWithoutKeysAndBytes(t *testing.T) {
	const input = `{"workflow":{"1":{"class_type":"X"}},"API_KEY_comfy_org":"sk-1","comfy_org_api_key":"sk-2",
		"s3Config":{"accessSecret":"sk-3"},"images":[{"name":"a.png","image":"QUJD"}],"files":[{"name":"b","Data":"QUJDRA=="},{"name":"c","url":"https://x.test/c"}]}`
	const want = `{"files":[{"name":"b","omitted_bytes":8},{"name":"c","url":"https://x.test/c"}],"images":[{"name":"a.png","omitted_bytes":4}],"workflow":{"1":{"class_type":"X"}}}`
	quoted, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	for name, sent := range map[string]string{"object": input, "text that holds one": string(quoted)} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, Config{})
			id := a.want(http.StatusOK, "POST", "/run", `{"input":`+sent+`,"s3Config":{"accessSecret":"sk-4"}}`).job(t).ID
			j := a.takeOne()
			if !strings.Contains(string(j.Input), "sk-1") || !strings.Contains(string(j.Input), "QUJD") {
				t.Errorf("the worker got %s, want it as it came", j.Input)
			}
			for range 2 { // while it runs, and after its end
				if d := a.detail(id); string(d.Input) != want {
					t.Errorf("input = %s\nwant    %s", d.Input, want)
				}
				a.done(image(id, 1))
			}
		})
	}
}

func TestShownInputOfOddShapes(t *testing.T) {
	for input, want := range map[string]string{
		`[1]`: "", `"x"`: "", `null`: "", `7`: "", "": "",
		`{"images":"QUJD"}`: `{"images":null}`,
		`{"images":[7]}`:    `{"images":null}`,
		`{"prompt":"x"}`:    `{"prompt":"x"}`,
	} {
		if got := string(shown(json.RawMessage(input))); got != want {
			t.Errorf("shown(%s) = %s, want %s", input, got, want)
		}
	}
}

func TestStatusSyncAnswersWhenTheJobEnds(t *testing.T) {
	a := serve(t, Config{})
	id := a.submitJob()
	got := a.want(http.StatusOK, "GET", "/v2/x/status-sync/"+id+"?wait=1000", "").job(t)
	if got.Status != inQueue {
		t.Errorf("answer = %+v, want IN_QUEUE after a second", got)
	}
	later := a.inBackground("GET", "/status-sync/"+id, "")
	a.takeOne()
	time.AfterFunc(10*time.Millisecond, func() { _ = a.Done(t.Context(), image(id, 3)) })
	if got := (<-later).job(t); got.Status != completed || got.Output == nil {
		t.Errorf("answer = %+v, want the completed job", got)
	}
	a.want(http.StatusNotFound, "GET", "/status-sync/nobody", "")
	a.want(http.StatusBadRequest, "GET", "/status-sync/"+id+"?wait=1", "")
}

// The result of a job that failed tells where its time went, as a completed one does.
func TestFailureTellsItsTimes(t *testing.T) {
	a := serve(t, Config{SpoolDir: t.TempDir()})
	id := a.submitJob()
	a.takeOne()
	a.done(job.Result{ID: id, Failure: &job.Failure{Kind: "workflow", Cause: "node_failed", Message: "no"}, Timings: job.Timings{Prepare: 1e6, Execute: 3e6}})
	body := string(a.want(http.StatusOK, "GET", "/status/"+id, "").body)
	if !strings.Contains(body, `"timings":{"prepare":1,`) {
		t.Errorf("got %s", body)
	}
}
