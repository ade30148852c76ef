package comfytest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

func jobIDs(n byte) string { return "00000000-0000-4000-8000-00000000000" + string('0'+n) }

// states reads the list of jobs as "id state".
func (c *client) states(query string) []string {
	c.t.Helper()
	_, text := c.do("GET", "/api/jobs"+query, nil)
	var v struct {
		Jobs []struct{ ID, Status string }
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		c.t.Fatalf("GET /api/jobs%s: %v in %s", query, err, text)
	}
	var all []string
	for _, j := range v.Jobs {
		all = append(all, j.ID[len(j.ID)-1:]+" "+j.Status)
	}
	slices.Sort(all)
	return all
}

func TestJobsAPIKnowsEveryState(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{Version: comfytest.V0330})
	c := newClient(t, s.URL).connect("A")
	send := func(n byte, workflow string) {
		c.prompt(workflow, `,"prompt_id":"`+jobIDs(n)+`","extra_data":{"extra_pnginfo":{"workflow":{"id":"wf-`+string('0'+n)+`"}}}`)
	}
	send(1, oneImage)
	c.untilEnd(jobIDs(1))
	send(2, `{"1":{"class_type":"SimRaise","inputs":{}}}`)
	c.untilEnd(jobIDs(2))
	send(3, slowSteps)
	c.until(func(m message) bool { return m.Type == "executing" })
	if _, text := c.do("POST", "/api/jobs/"+jobIDs(3)+"/cancel", nil); text != `{"cancelled": true}` {
		t.Errorf("cancel of the running one: %s", text)
	}
	c.untilEnd(jobIDs(3))
	send(4, slowSteps)
	c.until(func(m message) bool { return m.Type == "executing" })
	send(5, oneImage)
	want := []string{"1 completed", "2 failed", "3 cancelled", "4 in_progress", "5 pending"}
	if got := c.states(""); !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
	if got := c.states("?status=failed,pending"); !slices.Equal(got, []string{"2 failed", "5 pending"}) {
		t.Errorf("filtered states %v", got)
	}
	if got := c.states("?workflow_id=wf-3"); !slices.Equal(got, []string{"3 cancelled"}) {
		t.Errorf("jobs of a workflow: %v", got)
	}
	if got := len(c.states("?limit=2&offset=4")); got != 1 {
		t.Errorf("%d jobs on the last page, want 1", got)
	}
	for query, problem := range map[string]string{"status=x": "Invalid status value", "limit=0": "positive", "limit=x": "integer", "sort_by=x": "sort_by"} {
		if status, text := c.do("GET", "/api/jobs?"+query, nil); status != 400 || !strings.Contains(text, problem) {
			t.Errorf("GET /api/jobs?%s: %d %s", query, status, text)
		}
	}
	done := c.get("/api/jobs/" + jobIDs(1))
	if p, _ := done["preview_output"].(map[string]any); done["outputs_count"] != 1.0 || p["nodeId"] != "2" || p["mediaType"] != "images" || done["workflow_id"] != "wf-1" {
		t.Errorf("completed job %v", done)
	}
	if failed := c.get("/api/jobs/" + jobIDs(2)); failed["execution_error"].(map[string]any)["exception_type"] != "ValueError" {
		t.Errorf("failed job %v", failed)
	}
	if waiting := c.get("/api/jobs/" + jobIDs(5)); waiting["workflow"] != nil || waiting["outputs"] != nil {
		t.Errorf("pending job %v", waiting)
	}
	batch := func(body string) string { _, text := c.do("POST", "/api/jobs/cancel", body); return text }
	if got := batch(`{"job_ids":["` + jobIDs(5) + `","bad"]}`); !strings.Contains(got, "invalid_ids") {
		t.Errorf("batch with a bad id: %s", got)
	}
	if got := batch(`{"job_ids":["` + jobIDs(5) + `","` + jobIDs(1) + `"]}`); got != `{"cancelled": true}` {
		t.Errorf("batch: %s", got)
	}
	if status, text := c.do("GET", "/api/jobs/"+jobIDs(5), nil); status != 404 || text != `{"error": "Job not found"}` {
		t.Errorf("dequeued job: %d %s", status, text)
	}
	c.do("POST", "/interrupt", nil)
	c.untilEnd(jobIDs(4))
}

// One prompt with odd extra_data spoils the list for everybody until its
// history entry is deleted.
func TestOddExtraDataSpoilsTheJobsList(t *testing.T) {
	s := comfytest.NewServer(t, comfytest.Config{Version: comfytest.V0330})
	c := newClient(t, s.URL).connect("A")
	for extra, want := range map[string]int{
		`{"extra_pnginfo":null}`: 500, `{"extra_pnginfo":[]}`: 500, `{"extra_pnginfo":{"workflow":"abc"}}`: 500,
		`{"extra_pnginfo":{"workflow":null}}`: 500, `{"extra_pnginfo":{"workflow":{"id":5}}}`: 200, `{}`: 200,
	} {
		id := c.prompt(oneImage, `,"extra_data":`+extra)
		c.untilEnd(id)
		for _, path := range []string{"/api/jobs", "/api/jobs/" + id} {
			if got, _ := c.do("GET", path, nil); got != want {
				t.Errorf("%s: GET %s: %d, want %d", extra, path, got, want)
			}
		}
		c.do("POST", "/history", map[string][]string{"delete": {id}})
	}
}

func TestSecretsAreVisibleWhereComfyUIShowsThem(t *testing.T) {
	const secret = "comfyui-0123456789"
	eachVersion(t, func(t *testing.T, version string) {
		s := comfytest.NewServer(t, comfytest.Config{Version: version})
		c := newClient(t, s.URL).connect("A")
		extra := `,"extra_data":{"api_key_comfy_org":"` + secret + `","mine":"other"}`
		running := c.prompt(slowSteps, extra)
		c.until(func(m message) bool { return m.Type == "executing" })
		_, queue := c.do("GET", "/queue", nil)
		if got := strings.Contains(queue, secret); got != (version == comfytest.V0364) {
			t.Errorf("key in /queue: %v", got)
		}
		c.do("POST", "/interrupt", nil)
		c.untilEnd(running)
		good := c.prompt(oneImage, extra)
		c.untilEnd(good)
		if _, text := c.do("GET", "/history/"+good, nil); strings.Contains(text, secret) || !strings.Contains(text, "other") {
			t.Errorf("history after success: %s", text)
		}
		bad := c.prompt(`{"1":{"class_type":"SimRaise","inputs":{}}}`, extra)
		all := c.untilEnd(bad)
		i := slices.IndexFunc(all, func(m message) bool { return m.Type == "execution_error" })
		if text, _ := json.Marshal(all[i].Data); !strings.Contains(string(text), secret) {
			t.Errorf("execution_error to the owner hides the key: %s", text)
		}
		if _, text := c.do("GET", "/history/"+bad, nil); !strings.Contains(text, secret) {
			t.Errorf("history after failure hides the key: %s", text)
		}
		for _, e := range s.Executions() {
			if !strings.Contains(string(e.ExtraData), secret) {
				t.Errorf("the ledger does not tell the extra_data: %s", e.ExtraData)
			}
		}
	})
}
