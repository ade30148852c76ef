package runpod

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever the stop channel answers, the job at hand is stopped if it is named
// and else goes on, and nothing is kept of the others while no job is on its way.
func FuzzStops(f *testing.F) {
	for _, seed := range []string{
		`{"jobsToStop":["mine"]}`, `{"jobsToStop":["mine","mine","other"]}`, `{"jobsToStop":null}`, `{"JOBSTOSTOP":["mine"]}`,
		`{"jobsToStop":[1,"mine"]}`, `{"jobsToStop":"mine"}`, `{}`, `null`, `[]`, ``, "\xff", `{"jobsToStop":["\ud800"]}{"jobsToStop":["mine"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		ids, err := decodeStops(bytes.NewReader(answer))
		if err != nil {
			return
		}
		r := newRegistry(Config{})
		_, canceled, _ := r.admit("mine", time.Now())
		for _, id := range ids {
			r.cancel(id)
		}
		stopped := false
		select {
		case <-canceled:
			stopped = true
		default:
		}
		if named := slices.Contains(ids, "mine"); stopped != named {
			t.Errorf("named %t, stopped %t", named, stopped)
		}
		if len(r.early) != 0 {
			t.Errorf("%d stops are kept, and no job is on its way", len(r.early))
		}
	})
}

// A URL of the environment that is accepted leads to one server, whatever the
// ids that are filled in, and an error does not show the URL.
func FuzzLocate(f *testing.F) {
	f.Add("https://api.runpod.ai/v2/ep/job-take/$ID?gpu=L4", "worker-1", "job-1")
	f.Add("http://127.0.0.1:8080/$RUNPOD_POD_ID/$ID", "a/../b", "../../x?y#z")
	f.Add("https://$ID/x", "w", "other.test")
	f.Add("https://user:$RUNPOD_POD_ID@host/", "w", "j")
	f.Add("ftp://x", "", "")
	f.Add("https://host/%zz", "%", "%")
	f.Fuzz(func(t *testing.T, template, worker, id string) {
		const mark = "canary-7c1e5f0b"
		l, err := locate(Template{Name: "NAME", URL: template + mark}, worker)
		if err != nil {
			if strings.Contains(err.Error(), mark) {
				t.Errorf("the error shows the URL: %v", err)
			}
			return
		}
		host, _, _ := strings.Cut(l.path[strings.Index(l.path, "://")+3:], "/")
		if strings.Contains(host, idPlace) {
			return // the server is to be told by the job's id: for the one who sets the variable
		}
		plain, err := url.Parse(l.fill(idPlace, "id").with())
		if err != nil || plain.Host == "" {
			t.Fatalf("%q was accepted: %v", template, err)
		}
		filled, err := url.Parse(l.fill(idPlace, id).with("job_in_progress", id))
		if err != nil || filled.Host != plain.Host || filled.Scheme != plain.Scheme || strings.Count(filled.EscapedPath(), "/") != strings.Count(plain.EscapedPath(), "/") {
			t.Errorf("%q with id %q became %v, %v", template, id, filled, err)
		}
	})
}

// Whatever a server asks for, the pause is not negative.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"7", "-1", "99999999999999999999", "Mon, 23 Nov 2026 12:00:09 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "", "soon"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d := retryAfter(value, time.Now()); d < 0 {
			t.Errorf("%q is a pause of %s", value, d)
		}
	})
}
