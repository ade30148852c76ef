package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// long asks for the whole tables of faults, which take minutes.
var long = flag.Bool("long", false, "all of the tables of faults, and not a sample")

// A wayToDie is one way for ComfyUI to end by itself: a code, or a signal.
type wayToDie struct {
	code   int
	signal syscall.Signal
}

// String is how it has to be told.
func (d wayToDie) String() string {
	if d.signal != 0 {
		return "killed by " + unix.SignalName(d.signal)
	}
	return "exited with code " + strconv.Itoa(d.code)
}

// deadly are the signals up to 31 that end a process which does nothing about
// them.
var deadly = []syscall.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE,
	unix.SIGKILL, unix.SIGUSR1, unix.SIGSEGV, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM, unix.SIGTERM,
	unix.SIGSTKFLT, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGPROF, unix.SIGIO, unix.SIGPWR, unix.SIGSYS,
}

// waysToDie are all exit codes, or all deadly signals, or a sample of them that
// is another for each phase and has the usual ones in it.
func waysToDie(phase string, signals bool) []wayToDie {
	var all []wayToDie
	for code := range 256 {
		all = append(all, wayToDie{code: code})
	}
	usual := []wayToDie{{}, {code: 1}, {code: 137}}
	if signals {
		all, usual = nil, []wayToDie{{signal: unix.SIGKILL}, {signal: unix.SIGSEGV}}
		for _, s := range deadly {
			all = append(all, wayToDie{signal: s})
		}
	}
	if *long {
		return all
	}
	r := rand.New(rand.NewPCG(1, uint64(len(phase))))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return append(usual, all[:4]...)
}

// A patient is a program whose ComfyUI dies in ever new ways.
type patient struct {
	*program
	t  *testing.T
	at int // lines of the log that have been read
}

// newPatient starts one. To be killed by any signal, ComfyUI is made a child of
// the process that is supervised, which does nothing about signals; Go programs,
// as the simulated one, handle most of them.
func newPatient(t *testing.T, signals bool, o options) *patient {
	t.Helper()
	env := with(local, "RESTART_BACKOFF", "1ms", "RESTART_BACKOFF_MAX", "1ms", "RESTART_BOOT_FAILURES", "10000", "SIMCOMFY_BOOT", "5ms")
	if signals {
		env["COMFY_COMMAND"] = launcher(t, `"$@" & exec sleep 1000000`)
	}
	maps.Copy(env, o.env)
	o.env = env
	return &patient{program: start(t, o), t: t}
}

// launcher is a command that runs a shell script, whose arguments are the
// simulated ComfyUI's command line.
func launcher(t *testing.T, script string) string {
	t.Helper()
	fake, err := fakecomfy()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "custom_nodes"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, "launcher.sh")
	if err := os.WriteFile(file, []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return "/bin/sh " + file + " " + fake + " --base-directory " + home
}

// eachWay runs a test for the exit codes and one for the signals.
func eachWay(t *testing.T, phase string, test func(t *testing.T, signals bool, cases []wayToDie)) {
	t.Parallel()
	for _, signals := range []bool{false, true} {
		t.Run(map[bool]string{false: "codes", true: "signals"}[signals], func(t *testing.T) {
			t.Parallel()
			test(t, signals, waysToDie(phase, signals))
		})
	}
}

// next waits for the next line of the log that has all words.
func (p *patient) next(words ...string) string {
	p.t.Helper()
	line, at := p.waitLineFrom(p.at, words...)
	p.at = at
	return line
}

// die makes ComfyUI end in that way.
func (p *patient) die(d wayToDie) {
	p.t.Helper()
	if d.signal != 0 {
		if err := syscall.Kill(p.comfyPID(), d.signal); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	p.fault(fmt.Sprintf(`[{"on":"process","do":"exit","status":%d}]`, d.code))
}

// fault sets the faults of its ComfyUI.
func (p *program) fault(faults string) {
	p.t.Helper()
	resp, err := client.Post("http://127.0.0.1:"+p.env["COMFY_PORT"]+"/sim/faults", "application/json", strings.NewReader(faults))
	if err == nil { // it may die before it answers
		_ = resp.Body.Close()
	}
}

// told checks how the end of ComfyUI is told in the log, in one line with those
// words.
func (p *patient) told(d wayToDie, words ...string) {
	p.t.Helper()
	words = append(words, d.String()+" after", "uptime", `"oom": false`)
	if line := p.next("process exited"); !hasAll(line, words) {
		p.t.Errorf("%s is told as: %s", d, line)
	}
}

// ComfyUI ends while it boots, in every way a process can: each end is told in one line, and the next start follows.
func TestFault_C2_EveryDeathWhileBooting(t *testing.T) {
	eachWay(t, "boot", func(t *testing.T, signals bool, cases []wayToDie) {
		acts := make([]string, len(cases))
		for i, d := range cases {
			acts[i] = fmt.Sprintf(`{"exit":%d}`, d.code)
			if signals {
				acts[i] = `{"hang":true}`
			}
		}
		script := filepath.Join(t.TempDir(), "script.json")
		if err := os.WriteFile(script, []byte("["+strings.Join(acts, ",")+"]"), 0o644); err != nil {
			t.Fatal(err)
		}
		p := newPatient(t, signals, options{env: map[string]string{"SIMCOMFY_SCRIPT": script}})
		for i, d := range cases {
			p.next("process running")
			if signals {
				p.wait(fmt.Sprintf("act %d has begun", i+1), func() bool {
					begun, err := os.ReadFile(script + ".count")
					return err == nil && string(begun) == strconv.Itoa(i+1)
				})
				p.die(d)
			}
			p.told(d)
		}
		p.next("gate open")
	})
}

// ComfyUI ends while it has nothing to do, in every way a process can: each end is told in one line, with ComfyUI's last lines beside it, and it is started again.
func TestFault_C2_EveryDeathWhileIdle(t *testing.T) {
	eachWay(t, "idle", func(t *testing.T, signals bool, cases []wayToDie) {
		p := newPatient(t, signals, options{})
		for _, d := range cases {
			p.next("gate open")
			p.die(d)
			if d == (wayToDie{}) { // as if to be restarted
				p.told(d)
			} else {
				p.told(d, "last_lines", "Starting server") // the last line before it listens
			}
			var state struct {
				Instances []struct {
					LastExit  string   `json:"last_exit"`
					LastLines []string `json:"last_lines"`
				}
			}
			p.get(p.status+"/debug/state", &state)
			last := state.Instances[0]
			if !strings.HasPrefix(last.LastExit, d.String()) || !strings.Contains(strings.Join(last.LastLines, "\n"), "Starting server") {
				t.Errorf("%s: the state tells %+v", d, last)
			}
		}
		p.next("gate open")
	})
}

// ComfyUI ends twice while it runs a job, in every way a process can: the job is run once more, and then fails with comfyui_crashed, the end named and ComfyUI's last lines in the details.
func TestFault_C2_EveryDeathWithAJob(t *testing.T) {
	eachWay(t, "with a job", func(t *testing.T, signals bool, cases []wayToDie) {
		p := newPatient(t, signals, options{})
		for i, d := range cases {
			p.next("gate open")
			id := p.submit(slow(600, i))
			for range 2 {
				p.next("got prompt")
				p.die(d)
				p.told(d)
			}
			a := p.result(id)
			if a.Status != "FAILED" || a.Output.Cause != "comfyui_crashed" || !strings.Contains(a.Error, d.String()) {
				t.Errorf("%s: answer = %+v", d, a)
			}
			if lines := p.lastLinesOf(id); !strings.Contains(lines, "got prompt") {
				t.Errorf("%s: the last lines of the failure are %q", d, lines)
			}
		}
		if a := p.job(picture(1)); a.Status != "COMPLETED" {
			t.Errorf("after all that: %+v", a)
		}
	})
}

// lastLinesOf are ComfyUI's last lines in the details of a failed job.
func (p *program) lastLinesOf(id string) string {
	p.t.Helper()
	var a struct {
		Output struct {
			Details json.RawMessage
		}
	}
	if code := p.get(p.api+"/status/"+id, &a); code != http.StatusOK {
		p.t.Fatalf("status of job %s: %d", id, code)
	}
	var details struct {
		LastLines []string `json:"last_lines"`
	}
	if err := json.Unmarshal(a.Output.Details, &details); err != nil {
		p.t.Fatalf("details of job %s: %v: %s", id, err, a.Output.Details)
	}
	return strings.Join(details.LastLines, "\n")
}
