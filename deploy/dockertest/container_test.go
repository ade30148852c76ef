//go:build docker

package dockertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A container runs comfyvisor. It is removed at the end of the test.
type container struct {
	t           *testing.T
	id          string
	api, status string // URLs, published on loopback
}

// start runs a container of an image with more arguments for docker run.
func start(t *testing.T, image string, args ...string) *container {
	t.Helper()
	run := []string{"run", "--detach", "--label", label, "--publish", "127.0.0.1::8000", "--publish", "127.0.0.1::8001", "--env", "STATUS_ADDR=0.0.0.0:8001"}
	id, err := docker(t.Context(), append(append(run, args...), image)...)
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, id: strings.TrimSpace(id)}
	t.Cleanup(c.remove)
	c.api, c.status = c.published("8000"), c.published("8001")
	return c
}

func (c *container) remove() {
	if c.t.Failed() {
		out, _ := command(context.WithoutCancel(c.t.Context()), nil, "sh", "-c", `docker logs --tail 60 "$1" 2>&1`, "sh", c.id)
		c.t.Logf("the end of the container's log:\n%s", out)
	}
	if _, err := docker(context.WithoutCancel(c.t.Context()), "rm", "-fv", c.id); err != nil {
		c.t.Error(err)
	}
}

// docker runs the client and fails the test if it does.
func (c *container) docker(args ...string) string {
	c.t.Helper()
	out, err := docker(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// inspect returns what a template makes of the container's state.
func (c *container) inspect(format string) string {
	c.t.Helper()
	return c.docker("inspect", "--format", format, c.id)
}

// published is the URL of a port of the container.
func (c *container) published(port string) string {
	c.t.Helper()
	first, _, _ := strings.Cut(c.docker("port", c.id, port), "\n")
	return "http://" + first
}

// call sends a request and decodes the answer, if it has one, into v.
func call(method, url, body string, v any) (code int, err error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || v == nil {
		return res.StatusCode, err
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(v); err != nil {
		return res.StatusCode, fmt.Errorf("%s answers %d: %s", url, res.StatusCode, tail(string(text), 300))
	}
	return res.StatusCode, nil
}

var client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext}}

// eventually waits for an event that must come.
func (c *container) eventually(what string, ask func() error) {
	c.t.Helper()
	if err := until(c.t.Context(), patience, ask); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *container) waitReady() {
	c.t.Helper()
	c.eventually("ready", func() error {
		code, err := call(http.MethodGet, c.status+"/readyz", "", nil)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("/readyz answers %d", code)
		}
		return err
	})
}

// An answer is a job of the local API as it stands.
type answer struct {
	ID, Status, Error string
	Output            struct {
		Cause   string
		Images  []struct{ Filename, Type, Data string }
		Percent float64
	}
}

// post sends a job to /run or /runsync.
func (c *container) post(route, body string) (a answer) {
	c.t.Helper()
	if _, err := call(http.MethodPost, c.api+route, body, &a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

// ended waits for the end of a job.
func (c *container) ended(id string) (a answer) {
	c.t.Helper()
	c.eventually("the end of job "+id, func() error {
		a = answer{}
		_, err := call(http.MethodGet, c.api+"/status/"+id, "", &a)
		if err == nil && (a.Status == "IN_QUEUE" || a.Status == "IN_PROGRESS") {
			err = fmt.Errorf("it is %s", a.Status)
		}
		return err
	})
	return a
}

// wantPicture fails the test unless the job has completed with one.
func (c *container) wantPicture(a answer) {
	c.t.Helper()
	if a.Status != "COMPLETED" || len(a.Output.Images) == 0 {
		c.t.Fatalf("job %s: %s %q with %d pictures, want COMPLETED with one", a.ID, a.Status, a.Error, len(a.Output.Images))
	}
}

// A process is one of the container's, as the host sees it.
type process struct {
	pid, parent int
	state, args string
}

func (c *container) processes() (all []process) {
	c.t.Helper()
	lines := strings.Split(c.docker("top", c.id, "-eo", "pid,ppid,stat,args"), "\n")
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		pid, _ := strconv.Atoi(f[0])
		parent, _ := strconv.Atoi(f[1])
		all = append(all, process{pid, parent, f[2], strings.Join(f[3:], " ")})
	}
	return all
}

// find returns the process whose command line begins with a word.
func (c *container) find(word string) (found process) {
	c.t.Helper()
	c.eventually("process "+word, func() error {
		for _, p := range c.processes() {
			if strings.HasPrefix(p.args, word) && !strings.HasPrefix(p.state, "Z") {
				found = p
				return nil
			}
		}
		return fmt.Errorf("not there")
	})
	return found
}

// wantNoZombies fails the test if a dead process stays.
func (c *container) wantNoZombies() {
	c.t.Helper()
	c.eventually("no zombies", func() error {
		for _, p := range c.processes() {
			if strings.HasPrefix(p.state, "Z") {
				return fmt.Errorf("process %d (%s), child of %d, is dead and not reaped", p.pid, p.args, p.parent)
			}
		}
		return nil
	})
}

// stop stops the container and returns how long that took, and its exit code.
func (c *container) stop(grace time.Duration) (took time.Duration, code string) {
	c.t.Helper()
	begun := time.Now()
	c.docker("stop", "--time", fmt.Sprint(int(grace.Seconds())), c.id)
	return time.Since(begun), c.inspect("{{.State.ExitCode}}")
}

// logged is all that the container has written.
func (c *container) logged() string {
	c.t.Helper()
	out, err := command(c.t.Context(), nil, "sh", "-c", `docker logs "$1" 2>&1`, "sh", c.id)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// example is the job of the documents.
func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "txt2img.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// node is a job of one node of the simulator.
func node(class, inputs string) string {
	return fmt.Sprintf(`{"input":{"workflow":{"1":{"class_type":%q,"inputs":%s}}}}`, class, inputs)
}
