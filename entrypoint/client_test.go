package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A shell is where somebody types commands beside a running comfyvisor.
type shell struct {
	t   *testing.T
	dir string
	env map[string]string
}

// shell returns one in the surroundings of p.
func (p *program) shell() *shell { return &shell{p.t, p.t.TempDir(), p.env} }

// write makes a file in the shell's directory.
func (s *shell) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shell) command(args ...string) *exec.Cmd {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), self, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{asProgram + "=1"}
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// run runs a command to its end.
func (s *shell) run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

const paint = `{
	"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": 255}},
	"2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "blue"}, "_meta": {"title": "Save it"}}
}`

// A workflow in a file becomes pictures in a directory, with one command; a job
// that fails says why; one that nobody knows how to run is not sent.
func TestSubmitFromTheShell(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	s := p.shell()
	s.write("paint.json", paint)

	out, errs, code := s.run("submit", "paint.json", "--set", `save it.filename_prefix=red`, "--out", "pictures")
	want := "pictures/red_00001_.png\npictures/red_00002_.png\n"
	if code != exitDone || out != want {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	for name := range strings.FieldsSeq(out) {
		if b, err := os.ReadFile(filepath.Join(s.dir, name)); err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) {
			t.Errorf("%s: %v, %.10q", name, err, b)
		}
	}
	if !strings.Contains(errs, "job ") || !strings.Contains(errs, "done in ") {
		t.Errorf("it tells %q", errs)
	}

	out, errs, code = s.run("submit", "--json", "--quiet", "paint.json")
	var end struct {
		ID, Status string
		Files      []struct {
			Path, MIME string
			Size       int64
		}
	}
	if err := json.Unmarshal([]byte(out), &end); err != nil || code != exitDone || errs != "" || end.Status != "COMPLETED" || len(end.Files) != 2 || end.Files[0].Size == 0 {
		t.Errorf("--json: exit %d, %v\n%s%s", code, err, out, errs)
	}

	_, errs, code = s.run("submit", "paint.json", "--set", "1.class=3")
	if code != exitConfig || !strings.Contains(errs, `node 1 has no input "class": there are batch_size, color, height, width`) {
		t.Errorf("a wrong --set: exit %d\n%s", code, errs)
	}

	s.write("wrong.json", strings.Replace(paint, "EmptyImage", "EmtyImage", 1))
	_, errs, code = s.run("submit", "wrong.json")
	if code != exitJobFailed || !strings.Contains(errs, "the job failed (workflow_invalid)") || !strings.Contains(errs, "EmptyImage") {
		t.Errorf("a failing job: exit %d\n%s", code, errs)
	}
	if n := len(p.executions()); n != 2 {
		t.Errorf("%d executions, want 2", n)
	}
}

// Ctrl-C gives the job up where it runs.
func TestSubmitIsCanceledByCtrlC(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	s := p.shell()
	s.write("slow.json", `{"input":`+slow(600, 1)+`}`)
	cmd := s.command("submit", "slow.json")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.waitLine("got prompt")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code says it
	if code := cmd.ProcessState.ExitCode(); code != exitCanceled || !strings.Contains(errs.String(), "is CANCELLED") {
		t.Errorf("exit %d\n%s", code, errs.String())
	}
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("the next job = %+v", a)
	}
}

// The state is told, the restart is done, and a job can be given up, all from the
// command line.
func TestPodFromTheShell(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: local})
	p.waitReady()
	s := p.shell()
	old := p.comfyPID()
	out, errs, code := s.run("status")
	if code != exitDone || !strings.Contains(out, fmt.Sprintf("comfyui is running as process %d", old)) || !strings.Contains(out, "ready for jobs") {
		t.Errorf("status: exit %d\n%s%s", code, out, errs)
	}
	if out, errs, code = s.run("restart"); code != exitDone || !strings.HasPrefix(out, "restart of ComfyUI: ") {
		t.Errorf("restart: exit %d\n%s%s", code, out, errs)
	}
	p.nextComfy(old)
	if out, _, _ = s.run("status", "--json"); !json.Valid([]byte(out)) {
		t.Errorf("status --json: %s", out)
	}
	id := p.submit(slow(600, 1))
	if out, errs, code = s.run("cancel", id); code != exitDone || !strings.Contains(out, "is CANCELLED") {
		t.Errorf("cancel: exit %d\n%s%s", code, out, errs)
	}
	if _, errs, code = s.run("cancel", "nobody"); code != exitJobFailed || !strings.Contains(errs, "404") {
		t.Errorf("cancel of an unknown job: exit %d\n%s", code, errs)
	}
}

// Where nothing answers, and where an argument is wrong, the error says what to do.
func TestErrorsOfTheShell(t *testing.T) {
	t.Parallel()
	s := &shell{t, t.TempDir(), map[string]string{
		"PATH": os.Getenv("PATH"), "API_PORT": freePort(t), "STATUS_ADDR": "127.0.0.1:" + freePort(t),
	}}
	s.write("paint.json", paint)
	s.write("editor.json", `{"nodes": [], "links": []}`)
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"submit", "paint.json"}, exitJobFailed, []string{"connection refused", "SERVE_API_LOCALLY=true", "--url"}},
		{[]string{"submit", "none.json"}, exitJobFailed, []string{"none.json: no such file"}},
		{[]string{"submit", "editor.json"}, exitJobFailed, []string{"Export (API)"}},
		{[]string{"submit"}, exitConfig, []string{"want one workflow", "comfyvisor submit --help"}},
		{[]string{"submit", "paint.json", "--stes", "1"}, exitConfig, []string{"-stes"}},
		{[]string{"submit", "paint.json", "--endpoint", "abc"}, exitJobFailed, []string{"RUNPOD_API_KEY"}},
		{[]string{"submit", "paint.json", "--url", "localhost"}, exitJobFailed, []string{"http://HOST:PORT"}},
		{[]string{"status"}, exitJobFailed, []string{"connection refused", "--address"}},
		{[]string{"restart"}, exitJobFailed, []string{"connection refused"}},
		{[]string{"sumbit", "paint.json"}, exitConfig, []string{`did you mean comfyvisor submit?`}},
	} {
		_, errs, code := s.run(tt.args...)
		if code != tt.code || !hasAll(errs, tt.want) {
			t.Errorf("%q: exit %d, want %d\n%s", tt.args, code, tt.code, errs)
		}
	}
	out, errs, code := s.run("submit", "--help")
	if code != exitDone || errs != "" || !strings.Contains(out, "-set NODE.FIELD=VALUE") {
		t.Errorf("--help: exit %d\n%s%s", code, out, errs)
	}
	if again, _, _ := s.run("help", "submit"); again != out {
		t.Errorf("help submit differs from submit --help:\n%s", again)
	}
}

// An endpoint of RunPod is asked with its key, and files that lie in a bucket are
// fetched without it.
func TestSubmitToAnEndpoint(t *testing.T) {
	t.Parallel()
	var asked []string
	var server *httptest.Server
	looks := 0
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/v2/ep1/run":
			_, _ = io.WriteString(w, `{"id":"j-1","status":"IN_QUEUE"}`)
		case "/v2/ep1/status/j-1":
			if looks++; looks == 1 {
				w.WriteHeader(http.StatusBadGateway) // it passes
				return
			}
			_, _ = fmt.Fprintf(w, `{"id":"j-1","status":"COMPLETED","output":{"images":[{"filename":"../../a.png","type":"s3_url","data":"%s/bucket/a.png?sig=1"}]}}`, server.URL)
		case "/bucket/a.png":
			_, _ = io.WriteString(w, "picture")
		}
	}))
	defer server.Close()
	s := &shell{t, t.TempDir(), map[string]string{"PATH": os.Getenv("PATH"), "RUNPOD_API_KEY": "rpa_canary_0123456789"}}
	s.write("paint.json", paint)
	began := time.Now()
	out, errs, code := s.run("submit", "paint.json", "--endpoint", "ep1", "--url", server.URL+"/v2")
	if code != exitDone || out != "output/_.._a.png\n" {
		t.Fatalf("exit %d after %v\n%s%s", code, time.Since(began), out, errs)
	}
	if b, err := os.ReadFile(filepath.Join(s.dir, strings.TrimSpace(out))); err != nil || string(b) != "picture" {
		t.Errorf("%q, %v", b, err)
	}
	want := "POST /v2/ep1/run Bearer rpa_canary_0123456789\nGET /v2/ep1/status/j-1 Bearer rpa_canary_0123456789\n" +
		"GET /v2/ep1/status/j-1 Bearer rpa_canary_0123456789\nGET /bucket/a.png "
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(out+errs, "canary") {
		t.Errorf("the key is shown:\n%s%s", out, errs)
	}
}
