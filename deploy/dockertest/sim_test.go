//go:build docker

package dockertest

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// megabyte is how image sizes are counted.
const megabyte = 1_000_000

func TestImagesAreSmall(t *testing.T) {
	for image, limit := range map[string]int{binary: 20 * megabyte, sim: 35 * megabyte} {
		out, err := docker(t.Context(), "image", "inspect", "--format", "{{.Size}}", image)
		if err != nil {
			t.Fatal(err)
		}
		size, err := strconv.Atoi(strings.TrimSpace(out))
		if err != nil || size > limit {
			t.Errorf("%s has %d bytes (%v), want at most %d", image, size, err, limit)
		}
		t.Logf("%s: %.1f MB", image, float64(size)/megabyte)
	}
}

func TestImagesTellWhatTheyAre(t *testing.T) {
	out, err := docker(t.Context(), "image", "inspect", "--format",
		`{{.Config.StopSignal}} {{.Config.User}} {{.Config.Healthcheck.Test}} {{index .Config.Labels "org.opencontainers.image.version"}}`, sim)
	if want := "SIGTERM 65532:65532 [CMD /comfyvisor healthcheck] docker-test"; err != nil || strings.TrimSpace(out) != want {
		t.Errorf("the image says %q (%v), want %q", strings.TrimSpace(out), err, want)
	}
	out, err = docker(t.Context(), "run", "--rm", "--label", label, binary, "version")
	if strings.TrimSpace(out) != "docker-test" {
		t.Errorf("comfyvisor version in the image prints %q (%v), want docker-test", out, err)
	}
}

func TestFirstResult(t *testing.T) {
	begun := time.Now()
	c := start(t, sim, "--health-interval", "1s")
	c.waitReady()
	c.wantPicture(c.post("/runsync", example(t)))
	t.Logf("docker run to first result: %v", time.Since(begun).Round(time.Millisecond))
	c.eventually("Docker's health check", func() error {
		if got := c.inspect("{{.State.Health.Status}}"); got != "healthy" {
			return fmt.Errorf("the container is %s", got)
		}
		return nil
	})
	c.wantNoZombies()
	if took, code := c.stop(10 * time.Second); code != "0" {
		t.Errorf("idle, it stopped after %v with %s, want 0", took, code)
	}
}

// startGoal is the time from the start of the container's first process to the
// first byte of the local API.
const startGoal = 150 * time.Millisecond

// The best of several starts is what the image can do; the others tell of the
// machine. Nothing is asked before the start: Docker's proxy takes a connection
// before the container has its network, and the kernel then looks for it only once
// a second.
func TestFirstByteOfTheAPI(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String() // most likely still free when the container takes it
	l.Close()
	var times []time.Duration
	for range 7 {
		id, err := docker(t.Context(), "create", "--label", label, "--publish", addr+":8000", sim)
		if err != nil {
			t.Fatal(err)
		}
		c := &container{t: t, id: strings.TrimSpace(id), api: "http://" + addr}
		c.docker("start", c.id)
		c.eventually("an answer", func() error {
			_, err := call(http.MethodGet, c.api+"/health", "", nil)
			return err
		})
		at := time.Now()
		begun, err := time.Parse(time.RFC3339Nano, c.inspect("{{.State.StartedAt}}"))
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, at.Sub(begun))
		c.remove()
	}
	slices.Sort(times)
	t.Logf("container's start to the API's first byte: best %v, median %v, worst %v; the goal is %v", times[0], times[len(times)/2], times[len(times)-1], startGoal)
	if times[0] > startGoal {
		t.Errorf("the best of %d starts took %v, want at most %v", len(times), times[0], startGoal)
	}
}

func TestKillOfComfyUIInside(t *testing.T) {
	for _, init := range []string{"", "--init"} {
		t.Run("docker run "+init, func(t *testing.T) {
			var args []string
			if init != "" {
				args = []string{init}
			}
			c := start(t, sim, append(args, "--env", "SIMCOMFY_STEP=100ms")...)
			c.waitReady()
			job := c.post("/run", example(t))
			c.eventually("the job to be half-way", func() error {
				var a answer
				if _, err := call(http.MethodGet, c.api+"/status/"+job.ID, "", &a); err != nil || a.Output.Percent < 30 {
					return fmt.Errorf("it is at %v %% (%v)", a.Output.Percent, err)
				}
				return nil
			})
			if err := syscall.Kill(c.find("/fakecomfy").pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.wantPicture(c.ended(job.ID))
			// Orphans of a node are not reaped by ComfyUI, and by nobody's init.
			c.post("/runsync", node("SimFork", `{"count":20,"setsid":true}`))
			if err := syscall.Kill(c.find("/fakecomfy --").pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			c.wantNoZombies()
			c.waitReady()
			c.wantPicture(c.post("/runsync", example(t)))
			if took, code := c.stop(10 * time.Second); code != "0" {
				t.Errorf("it stopped after %v with %s, want 0", took, code)
			}
		})
	}
}

// The containers that people run: each one serves a job and stops in order.
func TestSurroundings(t *testing.T) {
	for name, args := range map[string][]string{
		"read-only root":                {"--read-only", "--tmpfs", "/tmp", "--tmpfs", "/comfyui:uid=65532,gid=65532"},
		"read-only root, root":          {"--read-only", "--user", "0", "--tmpfs", "/tmp", "--tmpfs", "/comfyui"},
		"root":                          {"--user", "0"},
		"a user that has no name":       {"--user", "12345:12345"},
		"no capabilities":               {"--cap-drop", "ALL", "--security-opt", "no-new-privileges"},
		"no capabilities, root, --init": {"--user", "0", "--cap-drop", "ALL", "--init"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, sim, args...)
			c.waitReady()
			c.wantPicture(c.post("/runsync", example(t)))
			if a := c.post("/runsync", node("SimFork", `{"count":5,"setsid":true}`)); a.Status != "COMPLETED" {
				t.Errorf("a job that leaves processes behind: %+v", a)
			}
			c.wantNoZombies()
			if took, code := c.stop(10 * time.Second); code != "0" || took > 10*time.Second {
				t.Errorf("it stopped after %v with %s, want 0 within the grace", took, code)
			}
		})
	}
}
