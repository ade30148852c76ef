//go:build docker

package dockertest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Two lines turn somebody's image into ours: its own command is not run any more.
func TestTwoLinesAreEnough(t *testing.T) {
	c := start(t, dropIn)
	c.waitReady()
	c.wantPicture(c.post("/runsync", example(t)))
	comfy := c.find("/comfyui/main")
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", comfy.pid))
	if err != nil || !strings.Contains(string(environ), "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4") {
		t.Errorf("ComfyUI was started without tcmalloc: %q (%v)", environ, err)
	}
	if got, want := c.docker("exec", c.id, "cat", "/comfyui/user/default/ComfyUI-Manager/config.ini"), "[default]\nnetwork_mode = offline"; got != want {
		t.Errorf("the Manager's configuration is %q, want %q", got, want)
	}
	c.wantNoZombies()
}

// PUBLIC_KEY lets its owner in, a dead SSH server is started again, and no job
// notices.
func TestSSH(t *testing.T) {
	keys, err := docker(t.Context(), "run", "--rm", "--label", label, "--entrypoint", "sh", dropIn, "-c",
		`ssh-keygen -q -t ed25519 -N "" -f /tmp/key && cat /tmp/key.pub /tmp/key`)
	if err != nil {
		t.Fatal(err)
	}
	public, private, _ := strings.Cut(keys, "\n")
	c := start(t, dropIn, "--env", "PUBLIC_KEY="+public, "--env", "SIMCOMFY_STEP=100ms")
	c.waitReady()
	c.docker("exec", c.id, "sh", "-c", `umask 077 && echo "$1" > /tmp/key`, "sh", private)
	logIn := func() error {
		out, err := docker(t.Context(), "exec", c.id, "ssh", "-i", "/tmp/key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
			"root@127.0.0.1", "echo in as $(id -un), PATH=$PATH")
		if err == nil && !strings.HasPrefix(out, "in as root, PATH=/usr/local/sbin:") {
			err = fmt.Errorf("the session says %q", out)
		}
		return err
	}
	c.eventually("a login", logIn)
	if got := c.docker("exec", c.id, "stat", "-c", "%a", "/root/.ssh", "/root/.ssh/authorized_keys"); got != "700\n600" {
		t.Errorf("the modes of .ssh and authorized_keys are %q, want 700 and 600", got)
	}
	job := c.post("/run", example(t))
	if err := syscall.Kill(c.find("sshd:").pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.eventually("a login after the death of the server", logIn)
	c.wantPicture(c.ended(job.ID))
	if strings.Contains(c.logged(), "job lost its ComfyUI") {
		t.Error("the end of the SSH server cost a job its ComfyUI")
	}
	c.wantNoZombies()
}

func TestNobodyGetsInWithoutAServer(t *testing.T) {
	c := start(t, sim, "--env", "PUBLIC_KEY=ssh-ed25519 AAAA nobody")
	c.waitReady()
	c.eventually("a warning", func() error {
		if !strings.Contains(c.logged(), "there is no sshd in the image") {
			return errors.New("none in the log")
		}
		return nil
	})
	c.wantPicture(c.post("/runsync", example(t)))
}
