package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// While the queue takes no results the next job runs and no third one is taken; when it answers again, both results arrive once.
func TestFault_R1_QueueDownWhileResultsAreDue(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: hold})
	q.Inject(runpodtest.Fault{Call: runpodtest.Done, For: time.Hour, Status: http.StatusServiceUnavailable})
	for i, id := range []string{"a", "b", "c"} {
		q.Submit(id, picture(i))
	}
	p.executed(2)
	ledgered(t, q, "results are refused", func(l runpodtest.Ledger) bool { return l.Faults[runpodtest.Done] >= 2 })
	if l := q.Ledger(); handed(l, "c") != 0 {
		t.Error("a third job was taken while two results wait")
	}
	q.Heal()
	for _, id := range []string{"a", "b", "c"} {
		if o := ends(t, q, id); o.Status != runpodtest.Completed {
			t.Errorf("job %s: %+v", id, o)
		}
	}
	checked(t, q)
}

// A result whose answer is lost is posted again byte for byte, and counts once.
func TestFault_R2_AnswerToTheResultIsLost(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: hold})
	q.Inject(runpodtest.Fault{Call: runpodtest.Done, Times: 2, Act: true, Cut: true})
	q.Submit("a", picture(1))
	if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
		t.Errorf("job a: %+v", o)
	}
	p.waitLine("job completed")
	posts := q.Job("a").Posts
	if len(posts) != 3 {
		t.Errorf("posted %d times, want 3", len(posts))
	}
	for _, post := range posts {
		if post.SHA256 != posts[0].SHA256 {
			t.Errorf("results differ: %+v", posts)
		}
	}
	checked(t, q)
}

// A result that the queue refuses for good is replaced by a small failure that says so; the next job is not affected.
func TestFault_R3_RefusedResultBecomesAFailure(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			_, q := queued(t, runpodtest.Config{Hold: hold, ResultLimit: 10_000, LimitStatus: status})
			q.Submit("a", files(1, 20_000, 1))
			q.Submit("b", picture(1))
			o := ends(t, q, "a")
			if o.Status != runpodtest.Failed || causeOf(o) != "result_rejected" || !strings.Contains(o.Error, fmt.Sprint(status)) {
				t.Errorf("job a: %s %s %s", o.Status, o.Error, o.Output)
			}
			if o := ends(t, q, "b"); o.Status != runpodtest.Completed {
				t.Errorf("job b: %+v", o)
			}
			checked(t, q)
		})
	}
}

// A result over RESULT_LIMIT_MB is not sent; the job fails with the sizes and what to do instead.
func TestFault_R4_ResultOverTheLimitIsNotSent(t *testing.T) {
	t.Parallel()
	_, q := queued(t, runpodtest.Config{Hold: hold}, "RESULT_LIMIT_MB", "1")
	q.Submit("a", files(1, 2_000_000, 1))
	o := ends(t, q, "a")
	if o.Status != runpodtest.Failed || causeOf(o) != "result_too_large" || !hasAll(o.Error, []string{"2.7 MB", "1.0 MB", "BUCKET_ENDPOINT_URL"}) {
		t.Errorf("job a: %s %s %s", o.Status, o.Error, o.Output)
	}
	if posts := q.Job("a").Posts; len(posts) != 1 || posts[0].Size > 10_000 {
		t.Errorf("posts: %+v, want the failure alone", posts)
	}
	checked(t, q)
}

// Forty jobs, of which some kill ComfyUI while the next one waits behind them: every result shows the colour that its own job asked for.
func TestFault_R5_ResultsOfManyJobsAreTheirOwn(t *testing.T) {
	t.Parallel()
	const jobs = 40
	_, q := queued(t, runpodtest.Config{Hold: hold}, "JOB_PREFETCH", "1")
	colour := func(i int) int { return i*0x061a2b + 7 }
	deadly := func(i int) bool { return i%13 == 6 }
	for i := range jobs {
		if deadly(i) {
			q.Submit(fmt.Sprint(i), simulated("SimDie", fmt.Sprintf(`{"how":"sigkill","seed":%d}`, i)))
			continue
		}
		q.Submit(fmt.Sprint(i), picture(colour(i)))
	}
	for i := range jobs {
		o := ends(t, q, fmt.Sprint(i))
		if deadly(i) {
			if o.Status != runpodtest.Failed || causeOf(o) != "comfyui_crashed" {
				t.Errorf("job %d: %s %s", i, o.Status, o.Output)
			}
			continue
		}
		if got := paintedColour(t, o); got != colour(i) {
			t.Errorf("job %d: %s %s: colour %06x, want %06x", i, o.Status, o.Error, got, colour(i))
		}
	}
	checked(t, q)
}

// paintedColour is the colour of the one picture in a result, -1 if there is none.
func paintedColour(t *testing.T, o runpodtest.Outcome) int {
	t.Helper()
	var output struct{ Images []struct{ Data string } }
	if err := json.Unmarshal(o.Output, &output); err != nil || len(output.Images) != 1 {
		return -1
	}
	raw, err := base64.StdEncoding.DecodeString(output.Images[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, _ := picture.At(1, 1).RGBA()
	return int(r>>8<<16 | g>>8<<8 | b>>8)
}

// A worker that is lost between the upload of its files and the post of its result leaves nothing behind in the bucket: the next run of the job writes the same keys.
func TestFault_R6_LostBetweenUploadAndResult(t *testing.T) {
	t.Parallel()
	gateway := s3test.Start(t)
	cfg := runpodtest.Config{APIKey: queueKey, Hold: hold, Lease: 4 * time.Second, PingInterval: time.Second}
	q := runpodtest.NewServer(t, cfg)
	q.Inject(runpodtest.Fault{Call: runpodtest.Done, Hang: time.Hour})
	env := with(q.Env(), bucket(gateway)...)
	first := start(t, options{env: env})
	q.Submit("a", files(2, 10_000, 1))
	ledgered(t, q, "the result is on its way", func(l runpodtest.Ledger) bool { return l.Faults[runpodtest.Done] == 1 })
	uploaded := objects(t, gateway)
	first.killed()

	start(t, options{env: with(env, "RUNPOD_POD_ID", "worker-2")})
	o := ends(t, q, "a")
	if o.Status != runpodtest.Completed || o.Worker != "worker-2" {
		t.Fatalf("job a: %+v", o)
	}
	if got := objects(t, gateway); len(got) != 2 || !slices.Equal(got, uploaded) {
		t.Errorf("the bucket holds %v, after the first worker %v; want the same two", got, uploaded)
	}
	checked(t, q)
}

// objects are the files in which the gateway keeps its objects.
func objects(t *testing.T, g *s3test.Gateway) (names []string) {
	t.Helper()
	err := filepath.WalkDir(g.Path(""), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Values that are no strict JSON (a bare NaN or Infinity, half a surrogate pair, a control character) arrive in the queue as strict JSON.
func TestFault_R9_ValuesBecomeStrictJSON(t *testing.T) {
	t.Parallel()
	const odd = `{"text":["half \ud83d a pair","bell \u0007"],"number":[NaN,-Infinity,7]}`
	history := fmt.Sprintf(`{%q:{"outputs":{"7":%s},"status":{"status_str":"success","completed":true,"messages":[]}}}`,
		comfy.PromptID("odd", 1), odd)
	faults, err := json.Marshal(comfytest.Faults{{On: "GET /history/*", Do: "answer", Status: http.StatusOK, Type: "application/json", Body: history}})
	if err != nil {
		t.Fatal(err)
	}
	_, q := queued(t, runpodtest.Config{Hold: hold}, "SIMCOMFY_FAULTS", string(faults))
	q.Submit("odd", simulated("SimText", `{"text":"as usual"}`))
	o := ends(t, q, "odd")
	if o.Status != runpodtest.Completed || !json.Valid(o.Output) || !hasAll(string(o.Output), []string{"a pair", "null", "bell"}) {
		t.Errorf("job odd: %s %s %s", o.Status, o.Error, o.Output)
	}
	checked(t, q) // the queue reads more strictly than encoding/json
}

// A file that grows while its result is on its way is never delivered in part: the job fails, says so, and may be sent again.
func TestFault_H7_OutputThatGrowsIsNotDelivered(t *testing.T) {
	t.Parallel()
	p, q := queued(t, runpodtest.Config{Hold: hold})
	q.Inject(runpodtest.Fault{Call: runpodtest.Done, For: time.Hour, Status: http.StatusServiceUnavailable})
	q.Submit("a", files(1, 10_000, 1))
	ledgered(t, q, "the result is refused", func(l runpodtest.Ledger) bool { return l.Faults[runpodtest.Done] > 0 })
	grow(t, p)
	before := q.Ledger().Faults[runpodtest.Done]
	ledgered(t, q, "a try has begun after that", func(l runpodtest.Ledger) bool { return l.Faults[runpodtest.Done] >= before+2 })
	q.Heal()
	o := ends(t, q, "a")
	if o.Status != runpodtest.Failed || causeOf(o) != "result_unreadable" || !strings.Contains(string(o.Output), `"retryable":true`) {
		t.Errorf("job a: %s %s %.300s", o.Status, o.Error, o.Output)
	}
	checked(t, q)
}

// grow appends to each output that lies in ComfyUI's directory.
func grow(t *testing.T, p *program) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(p.dir, "output", "comfyvisor", "*", "*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("outputs: %v, %v", names, err)
	}
	f, err := os.OpenFile(names[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
