package worker

import (
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/fetch"
)

// documented is an example of docs/jobs.md: a job, and its result or its error.
type documented struct {
	input  json.RawMessage
	result map[string]any
	err    string
}

var example = regexp.MustCompile("(?s)<!-- job -->\n```json\n(.*?)```\n\n<!-- (result|error) -->\n```(?:json)?\n(.*?)\n```")

// documentedJobs reads the examples, in which URLs lead to host instead.
func documentedJobs(t *testing.T, host string) (jobs []documented) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "docs", "jobs.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "https://example.com", host)
	for _, found := range example.FindAllStringSubmatch(text, -1) {
		var request struct {
			Input json.RawMessage `json:"input"`
		}
		if err := json.Unmarshal([]byte(found[1]), &request); err != nil {
			t.Fatalf("%s: %v", found[1], err)
		}
		d := documented{input: request.Input}
		if found[2] == "error" {
			d.err = found[3]
		} else if err := json.Unmarshal([]byte(found[3]), &d.result); err != nil {
			t.Fatalf("%s: %v", found[3], err)
		}
		jobs = append(jobs, d)
	}
	if n := strings.Count(text, "<!-- job -->"); n == 0 || len(jobs) != n {
		t.Fatalf("%d of %d examples were read", len(jobs), n)
	}
	return jobs
}

// Every example of docs/jobs.md has the result that stands there.
func TestJobsDocument(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".wav") {
			fmt.Fprint(w, "RIFF....WAVE")
			return
		}
		if err := png.Encode(w, image.NewRGBA(image.Rect(0, 0, 8, 8))); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	for i, d := range documentedJobs(t, server.URL) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p := startPod(t, comfytest.Config{}, func(c *Config) {
				c.Fetch = fetch.New(fetch.Config{Dir: t.TempDir(), MaxBytes: 1e6, AllowPrivate: d.err == ""})
			})
			got := p.do("job", string(d.input))
			if d.err != "" {
				got.wantCause(t, CauseBadInput)
				if diff := cmp.Diff(d.err, got.Failure.Message); diff != "" {
					t.Errorf("error (-document +got):\n%s", diff)
				}
				return
			}
			if diff := cmp.Diff(d.result, shortened(t, got.body, d.result)); diff != "" {
				t.Errorf("result (-document +got):\n%s", diff)
			}
		})
	}
}

// shortened is a result with those fields alone that the document shows, and with
// an ellipsis for the bytes of files.
func shortened(t *testing.T, body []byte, shown map[string]any) map[string]any {
	t.Helper()
	var result map[string]any
	if err := json.Unmarshal(body, &result); err != nil {
		t.Fatal(err)
	}
	keep(result, shown)
	for list := range result {
		files, _ := result[list].([]any)
		wanted, _ := shown[list].([]any)
		for i := range min(len(files), len(wanted)) {
			file, is := files[i].(map[string]any)
			if !is {
				continue
			}
			keep(file, wanted[i].(map[string]any))
			if _, inline := file["data"]; inline {
				file["data"] = "…"
			}
		}
	}
	return result
}

// keep removes the fields that are not shown.
func keep(fields, shown map[string]any) {
	maps.DeleteFunc(fields, func(name string, _ any) bool {
		_, ok := shown[name]
		return !ok
	})
}
