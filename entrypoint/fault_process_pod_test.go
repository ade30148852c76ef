package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// A stop while there is nothing to do ends the program with 0, and a job that the queue hands out in that very moment has an outcome.
func TestFault_P2_IdleStopLosesNoJob(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"no job", "job before the signal", "job after the signal"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, q := queued(t, runpodtest.Config{Hold: time.Minute})
			q.Submit("warm", picture(1))
			ends(t, q, "warm")
			p.waitLine("job completed")
			if name == "job before the signal" {
				q.Submit("a", picture(2))
			}
			p.signal(syscall.SIGTERM)
			if name == "job after the signal" {
				q.Submit("a", picture(2))
			}
			if code := p.exit(); code != exitDone {
				t.Errorf("exit code = %d, want %d", code, exitDone)
			}
			if err := q.Check(); err != nil {
				t.Error(err)
			}
			if name == "job before the signal" {
				if l := q.Ledger(); q.Job("a").Outcome == nil && l.Waiting != 1 {
					t.Errorf("the job is neither done nor waiting: %+v", q.Job("a"))
				}
			}
		})
	}
}

// kill -9 1 from inside the namespace, by something that ComfyUI started, changes nothing.
func TestFault_P5_KillFromInsideIsDropped(t *testing.T) {
	t.Parallel()
	p := start(t, options{env: with(local, "COMFY_COMMAND", launcher(t, `kill -9 1; echo "kill: $?"; kill -STOP 1; exec "$@"`)), pid1: true})
	p.waitLine("comfyui |", "kill: 0")
	p.waitReady()
	if a := p.job(picture(1)); a.Status != "COMPLETED" {
		t.Errorf("job: %+v", a)
	}
}

// As the first process it reaps ten thousand orphans with exit codes of all kinds, no zombie stays, and ComfyUI's own status is read right.
func TestFault_P6_TenThousandOrphansOfThePod(t *testing.T) {
	t.Parallel()
	script := `i=0; while [ $i -lt 100 ]; do (j=0; while [ $j -lt 100 ]; do (exit $((i*100+j))) & j=$((j+1)); done); i=$((i+1)); case $i in *0) echo ${i}00 orphans made;; esac; done; exec "$@"`
	p := start(t, options{env: with(local, "COMFY_COMMAND", launcher(t, script), "RESTART_BACKOFF", "1ms"), pid1: true})
	for thousands := range 10 { // each has a wait of its own
		p.waitLine(fmt.Sprint(thousands+1, "000 orphans made"))
	}
	p.waitReady()
	p.noZombies()
	if a := p.job(simulated("SimFork", `{"count":20,"setsid":true}`)); a.Status != "COMPLETED" {
		t.Errorf("job: %+v", a)
	}
	a := p.job(simulated("SimDie", `{"how":"exit:7"}`))
	if a.Status != "FAILED" || !strings.Contains(a.Error, "exited with code 7") {
		t.Errorf("job: %+v", a)
	}
	p.noZombies()
}

// noZombies waits until the program has no dead children.
func (p *program) noZombies() {
	p.t.Helper()
	late := time.After(patience)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		dead := p.zombies()
		if dead == 0 {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-late:
			p.t.Fatalf("%d zombies stay", dead)
		}
	}
}

func (p *program) zombies() (dead int) {
	p.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(rest, "Z "+strconv.Itoa(p.cmd.Process.Pid)+" ") {
			dead++
		}
	}
	return dead
}

// The whole pod is frozen for longer than the liveness limits, as a suspended host does it, and goes on: ComfyUI is not restarted and the job completes.
func TestFault_P11_FrozenPodGoesOn(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{true, false} {
		t.Run(map[bool]string{true: "all of it", false: "comfyvisor alone"}[whole], func(t *testing.T) {
			t.Parallel()
			p, q := queued(t, runpodtest.Config{Hold: time.Minute}, "RUNPOD_PING_INTERVAL", "1000", "JOB_TIMEOUT", "1h",
				"LIVENESS_INTERVAL", "100ms", "LIVENESS_FAILURES", "1", "LIVENESS_SILENCE", "2s", "BOOT_STALL", "2s")
			q.Submit("a", slow(1, 1))
			p.waitLine("got prompt")
			frozen := []int{p.cmd.Process.Pid}
			if whole {
				frozen = append(frozen, p.comfyPID())
			}
			send := func(sig syscall.Signal) {
				for _, pid := range frozen {
					if err := syscall.Kill(pid, sig); err != nil {
						t.Fatal(err)
					}
				}
			}
			send(syscall.SIGSTOP)
			<-time.After(4 * time.Second) // that is the fault
			send(syscall.SIGCONT)
			waitPings(t, q, 1) // they go on
			if o := ends(t, q, "a"); o.Status != runpodtest.Completed {
				t.Errorf("job: %s %s", o.Status, o.Error)
			}
			if n := len(p.executions()); n != 1 {
				t.Errorf("%d executions of one job", n)
			}
			if strings.Contains(p.log(), "process exited") {
				t.Error("ComfyUI was restarted")
			}
		})
	}
}

// ComfyUI dies when the files are on the disk and before its history tells of them: the job runs again and its files are those of the second run; if that dies too, the job fails and is no success.
func TestFault_C4_DeathBetweenOutputAndHistory(t *testing.T) {
	t.Parallel()
	for _, version := range []string{comfytest.V0364, comfytest.V0330} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			script := filepath.Join(t.TempDir(), "script.json")
			late := `[{"faults":[{"on":"prompt","do":"late-history","delay":"10m"}]}]`
			if err := os.WriteFile(script, []byte(late), 0o644); err != nil {
				t.Fatal(err)
			}
			p := start(t, options{env: with(local, "SIMCOMFY_VERSION", version, "SIMCOMFY_SCRIPT", script)})
			p.waitReady()
			id := p.submit(picture(1))
			p.waitFile(filepath.Join(p.dir, "output", "comfyvisor", "*", "*.png"))
			if err := syscall.Kill(p.comfyPID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if a := p.result(id); a.Status != "COMPLETED" || len(a.Output.Images) != 1 || a.Output.Images[0].Filename != "ComfyUI_00001_.png" {
				t.Errorf("answer = %+v", a)
			}
			a := p.job(simulated("SimDie", `{"how":"sigkill","when":"after_output"}`))
			if a.Status != "FAILED" || a.Output.Cause != "comfyui_crashed" || len(a.Output.Images) != 0 {
				t.Errorf("dies twice: %+v", a)
			}
		})
	}
}

// waitFile waits for a file that matches.
func (p *program) waitFile(pattern string) {
	p.t.Helper()
	late := time.After(patience)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		if files, _ := filepath.Glob(pattern); len(files) > 0 {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-late:
			p.t.Fatal(fmt.Errorf("there is no %s", pattern))
		}
	}
}
