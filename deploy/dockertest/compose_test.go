//go:build docker

package dockertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// A composition is what a compose file has brought up.
type composition struct {
	*container // the service comfyvisor
	t          *testing.T
	env        []string
	profile    string
}

// compose runs Docker's plugin, or the program that was before it.
func (c *composition) compose(args ...string) (string, error) {
	ctx := context.WithoutCancel(c.t.Context())
	before := []string{"-p", "comfyvisor-test", "-f", filepath.Join("..", "compose.sim.yaml")}
	if c.profile != "" {
		before = append(before, "--profile", c.profile)
	}
	args = append(before, args...)
	if _, err := docker(ctx, "compose", "version"); err == nil {
		return command(ctx, c.env, "docker", append([]string{"compose"}, args...)...)
	}
	return command(ctx, c.env, "docker-compose", args...)
}

// up brings the simulated pod up with a profile, until the test ends.
func up(t *testing.T, profile string, env ...string) *composition {
	t.Helper()
	c := &composition{t: t, profile: profile, env: append(env, "COMFYVISOR_IMAGE="+sim, "S3_IMAGE="+s3, "PROMETHEUS_IMAGE="+standing.debian)}
	t.Cleanup(func() {
		if _, err := c.compose("down", "--volumes"); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.compose("up", "--detach", "--no-build"); err != nil {
		t.Fatal(err)
	}
	id, err := c.compose("ps", "--quiet", "comfyvisor")
	if err != nil {
		t.Fatal(err)
	}
	c.container = &container{t: t, id: strings.TrimSpace(id), api: "http://127.0.0.1:8000"}
	c.eventually("ready", func() error {
		code, err := call(http.MethodGet, c.api+"/ping", "", nil)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("/ping answers %d", code)
		}
		return err
	})
	return c
}

func TestComposeUpJobDown(t *testing.T) {
	c := up(t, "")
	c.wantPicture(c.post("/runsync", example(t)))
	c.wantNoZombies()
	if _, err := c.compose("stop"); err != nil {
		t.Fatal(err)
	}
	if code := c.inspect("{{.State.ExitCode}}"); code != "0" {
		t.Errorf("compose stop ended it with %s, want 0", code)
	}
}

func TestComposeWithS3(t *testing.T) {
	c := up(t, "s3", "BUCKET_ENDPOINT_URL=http://s3:7070/outputs")
	a := c.post("/runsync", example(t))
	c.wantPicture(a)
	if f := a.Output.Images[0]; f.Type != "s3_url" || !strings.HasPrefix(f.Data, "http://s3:7070/outputs/") {
		t.Errorf("the picture is a %s at %s, want an s3_url in the bucket", f.Type, f.Data)
	}
}

func TestComposeWithPrometheus(t *testing.T) {
	c := up(t, "prometheus")
	c.wantPicture(c.post("/runsync", example(t)))
	c.eventually("a scrape that has the job", func() error {
		var found struct {
			Data struct {
				Result []struct{ Value [2]any }
			}
		}
		query := "http://127.0.0.1:9090/api/v1/query?query=comfyvisor_jobs_total"
		if _, err := call(http.MethodGet, query, "", &found); err != nil {
			return err
		}
		if len(found.Data.Result) == 0 {
			return errors.New("there is no comfyvisor_jobs_total")
		}
		return nil
	})
}
