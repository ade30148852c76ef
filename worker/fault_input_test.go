package worker

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/fetch"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// downloads lets a worker download from addresses of the test too.
func downloads(dir string) func(*Config) {
	return func(c *Config) { c.Fetch = fetch.New(fetch.Config{Dir: dir, MaxBytes: 1e6, AllowPrivate: true}) }
}

// web serves files by their paths, and counts the requests.
func web(t *testing.T, files map[string]string) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// soundJob is a job that loads a.wav as audio and saves it.
func soundJob(files string) string {
	return `{"workflow":{
		"1":{"class_type":"LoadAudio","inputs":{"audio":"a.wav"}},
		"2":{"class_type":"SaveAudio","inputs":{"audio":["1",0],"filename_prefix":"sound"}}},
		"files":[` + files + `]}`
}

// untouched fails the test if ComfyUI was sent a file or a prompt.
func (p *pod) untouched() {
	p.t.Helper()
	for _, r := range p.comfy.Requests() {
		if r.Method == http.MethodPost {
			p.t.Errorf("ComfyUI was sent %s %s", r.Method, r.Path)
		}
	}
	if n := entries(p.t, p.comfy.InputDir()); n != 0 {
		p.t.Errorf("%d files are in ComfyUI's input directory", n)
	}
}

// A job whose files have names that would lead elsewhere fails with each of them
// named, before anything is sent to ComfyUI.
func TestFault_V1_BadNamesReachNothing(t *testing.T) {
	p := startPod(t, comfytest.Config{}, downloads(t.TempDir()))
	names := []string{"../a.png", "/etc/passwd", `..\a.png`, "a.png [output]", "%2e%2e%2fa.png", "a\u0000.png", strings.Repeat("n", 300), "-rf", "con.", "x/../y"}
	var items, want []string
	for i, name := range names {
		quoted, _ := json.Marshal(name)
		items = append(items, fmt.Sprintf(`{"name":%s,"data":"aGk="}`, quoted))
		want = append(want, fmt.Sprintf("input.files[%d].name", i))
	}
	items = append(items, `{"url":"https://example.com/a/..%2f..%2fpasswd"}`, `{"url":"https://example.com/a%00.png"}`)
	want = append(want, "input.files[10] lacks a name", "input.files[11] lacks a name")
	d := p.do("bad", soundJob(strings.Join(items, ",")))
	d.wantCause(t, CauseBadInput)
	for _, w := range want {
		if !strings.Contains(d.Failure.Message, w) {
			t.Errorf("the message lacks %q: %s", w, d.Failure.Message)
		}
	}
	p.untouched()
}

// A name that is accepted is one file in one directory, whatever the text.
func FuzzCheckName(f *testing.F) {
	for _, name := range []string{"a.png", "../a", `..\a`, "a [output]", "%2e", "a\x00", "ä ö.png", ".", "COM1", "a]b"} {
		f.Add(name)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		if checkName(name) != nil {
			return
		}
		stored := newAttempt("j", 1).prefix + name
		if full := filepath.Join(dir, stored); filepath.Dir(full) != dir || filepath.Base(full) != stored {
			t.Errorf("%q leads to %q", name, full)
		}
		if strings.ContainsAny(name, "/\\\x00%") || strings.HasSuffix(name, "]") || len(stored) > 255 {
			t.Errorf("%q was accepted", name)
		}
	})
}

// Two jobs at the same time whose URLs end in the same name each get their own
// file, and nothing is left of either.
func TestFault_V2_DownloadsOfTwoJobsAreApart(t *testing.T) {
	url, _ := web(t, map[string]string{"/one/a.wav": "one", "/two/a.wav": "two"})
	dir := t.TempDir()
	p := startPod(t, comfytest.Config{}, func(c *Config) {
		downloads(dir)(c)
		c.Prefetch = true
	})
	plain := p.do("plain", soundJob(`{"name":"a.wav","data":"`+base64.StdEncoding.EncodeToString([]byte("one"))+`"}`))
	plain.wantOutput(t, 1)
	for i := range 10 {
		for _, which := range []string{"one", "two"} {
			p.source.submit(job.Job{ID: fmt.Sprint(which, i), Taken: time.Now(), Input: json.RawMessage(soundJob(`{"url":"` + url + "/" + which + `/a.wav"}`))})
		}
	}
	for i := range 10 {
		one, two := p.source.wait(t, fmt.Sprint("one", i)), p.source.wait(t, fmt.Sprint("two", i))
		one.wantOutput(t, 1)
		two.wantOutput(t, 1)
		if one.hashes[0] != plain.hashes[0] || two.hashes[0] == plain.hashes[0] {
			t.Errorf("round %d: the jobs were given each other's files", i)
		}
	}
	if openBelowDir(t, dir) == 0 && entries(t, dir) > 0 {
		t.Error("a download has a name in the folder")
	}
	p.stop()
	<-p.ended
	p.ended <- nil
	if n := entries(t, p.comfy.InputDir()) + entries(t, dir) + openBelowDir(t, dir); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// openBelowDir counts the open files of this process that are, or were, in dir.
func openBelowDir(t *testing.T, dir string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, dir+"/") {
			n++
		}
	}
	return n
}

// A gigabyte of base64 is refused by its length, without being decoded or copied.
func TestFault_V3_HugeBase64IsNotDecoded(t *testing.T) {
	text := strings.Repeat("A", 1<<28)
	if grown := grows(func() {
		if _, err := decodeBase64(text); err == nil || !strings.Contains(err.Error(), "at most 52428800") {
			t.Errorf("got %v", err)
		}
	}); grown > 1<<20 {
		t.Errorf("%d bytes were taken for it", grown)
	}
	text = text[:8<<20]
	if grown := grows(func() {
		if _, err := decodeBase64(text); err != nil {
			t.Error(err)
		}
	}); grown > 1<<20 {
		t.Errorf("%d bytes were taken to check a file of %d", grown, len(text)/4*3)
	}
}

// grows is how many bytes f allocates.
func grows(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// JSON that is small as bytes and huge in memory is refused by its shape, before
// it is decoded; what is merely odd goes on as the bytes that came.
func TestFault_V5_JSONBombs(t *testing.T) {
	const size = 4 << 20
	bombs := map[string]string{
		"objects": `{"workflow":[` + strings.Repeat(`{},`, size/3) + `{}]}`,
		"depth":   `{"workflow":` + strings.Repeat(`[`, size/2) + strings.Repeat(`]`, size/2) + `}`,
		"keys":    `{"workflow":{` + strings.Repeat(`"a":1,`, size/6) + `"a":1}}`,
		"depth in a string": func() string {
			text, _ := json.Marshal(strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5000))
			return `{"workflow":` + string(text) + `}`
		}(),
	}
	for name, bomb := range bombs {
		t.Run(name, func(t *testing.T) {
			raw := json.RawMessage(bomb)
			grown := grows(func() {
				if _, failure := parseInput(raw, nil); failure == nil || len(failure.Message) > 1000 {
					t.Errorf("got %v", failure)
				}
			})
			if grown > 1<<20 {
				t.Errorf("%d bytes were taken for one of %d", grown, len(bomb))
			}
		})
	}

	p := startPod(t, comfytest.Config{}, nil)
	d := p.do("odd", `{"workflow":{
		"1":{"class_type":"EmptyImage","inputs":{"width":8,"width":64,"height":64,"batch_size":1,"color":1,"n":`+strings.Repeat("9", 5000)+`}},
		"2":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}},
		"`+strings.Repeat("k", 100_000)+`":{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":1}}}}`)
	d.wantOutput(t, 1)
	sent := string(p.comfy.Executions()[0].Workflow)
	if strings.Count(sent, `"width"`) != 2 || !strings.Contains(sent, `"width": 64`) || !strings.Contains(sent, strings.Repeat("9", 5000)) {
		t.Errorf("ComfyUI was sent another workflow: %.300s", sent)
	}
}

// A workflow of 10,000 nodes runs, and one whose links go round is refused in
// ComfyUI's words while ComfyUI goes on.
func TestFault_V6_LargeAndCyclicWorkflows(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, `,"%d":{"class_type":"EmptyImage","inputs":{"width":8,"height":8,"batch_size":1,"color":%d}}`, i+10, i)
	}
	large := strings.Replace(picture(1), `{"workflow":{`, `{"workflow":{`+b.String()[1:]+`,`, 1)
	p.do("large", large).wantOutput(t, 1)
	both(t, func(t *testing.T, sim comfytest.Config) {
		p := startPod(t, sim, nil)
		p.do("cyclic", `{"workflow":{
			"1":{"class_type":"ImageInvert","inputs":{"image":["2",0]}},
			"2":{"class_type":"ImageInvert","inputs":{"image":["1",0]}},
			"3":{"class_type":"SaveImage","inputs":{"images":["1",0],"filename_prefix":"x"}}}}`).wantCause(t, CauseInvalid)
		p.do("next", picture(2)).wantOutput(t, 1)
	})
}

// What a job says beside its workflow does not reach ComfyUI: the ids, the place
// in the queue and the extra data of a prompt are ours.
func TestFault_V7_ReservedFieldsAreOurs(t *testing.T) {
	p := startPod(t, comfytest.Config{}, nil)
	evil := strings.TrimSuffix(picture(1), "}") + `,"client_id":"evil","prompt_id":"evil","front":true,"number":-7,
		"extra_data":{"evil":1,"extra_pnginfo":{"evil":2}},"partial_execution_targets":["evil"]}`
	p.do("job", evil).wantOutput(t, 1)
	e := p.comfy.Executions()[0]
	if e.PromptID != comfy.PromptID("job", 1) || e.Number < 0 {
		t.Errorf("prompt id %q, number %v", e.PromptID, e.Number)
	}
	if text := e.ClientID + string(e.ExtraData) + string(e.Workflow); strings.Contains(text, "evil") {
		t.Errorf("the job's own fields reached ComfyUI: %s", text)
	}
}
