package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
	"github.com/comfyvisor/comfyvisor/internal/s3test"
)

// A soak is one comfyvisor, the first process of its namespace, between a
// simulated queue and a simulated ComfyUI.
type soak struct {
	*program            // the pod of now
	t        *testing.T // of all of them
	kind     soakPodKind
	binary   string
	pods     int // so far
	killed   int // of them

	q      *runpodtest.Server
	bucket *s3test.Gateway  // nil if results carry their files
	link   *toxiproxy.Proxy // to the bucket
	// queueLink is the line to the queue.
	queueLink *toxiproxy.Proxy
	script    string // what the next incarnation does
	space     string // the PID namespace, "" if there is none of its own
	base      soakRest
	jobs      int // submitted so far

	mu      sync.Mutex
	records map[string]soakRecord
	twice   map[string]int // hand-outs that a fault added, by job
	done    string         // the last small one that completed

	losses  []soakLoss
	pending *soakPending // a fault of ComfyUI whose effect is not yet known
	refused time.Time    // when the last fault of a submission was injected
	counts  soakCounts

	endWatch func() // ends the look-out for zombies
}

// lookAround begins to watch a pod that was started.
func (s *soak) lookAround() {
	s.space, _ = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", s.cmd.Process.Pid))
	s.watchZombies()
}

// accept takes down a result. The queue calls it with each that it accepts.
func (s *soak) accept(job string, body []byte) error {
	r, err := readSoakRecord(body, s.bucket)
	if s.secret(body) {
		err = errors.Join(err, errors.New("its result tells a secret"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[job] = r
	if r.outcome == soakCompleted && len(body) < 1<<20 {
		s.done = job
	}
	return err
}

func (s *soak) record(job string) *soakRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.records[job]; ok {
		return &r
	}
	return nil
}

// until waits for something to become true.
func (s *soak) until(what string, cond func() bool) {
	s.t.Helper()
	deadline := time.After(*soakPatience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		s.another()
		select {
		case <-tick.C:
		case <-s.ended:
			s.counts.broken[soakExits]++
			s.t.Fatalf("comfyvisor ended with code %d before %s", s.code, what)
		case <-deadline:
			s.counts.broken[soakLives]++
			s.t.Fatalf("too late: %s; state %+v", what, s.state())
		}
	}
}

// soakState is what /debug/state tells.
type soakState struct {
	Jobs      int
	Instances []struct {
		PID, Incarnation int
		Ready            bool
		Reason, Job      string
	}
}

func (s *soak) state() (state soakState) {
	s.t.Helper()
	s.get(s.status+"/debug/state", &state)
	return state
}

// play writes what the next incarnation is to do, nil for nothing special.
func (s *soak) play(act *soakAct) {
	starts := 0
	if text, err := os.ReadFile(s.script + ".count"); err == nil {
		_, _ = fmt.Sscan(string(text), &starts)
	}
	acts := make([]soakAct, starts)
	if act != nil {
		acts = append(acts, *act)
	}
	raw, err := json.Marshal(acts)
	if err == nil {
		err = errors.Join(os.WriteFile(s.script+".next", raw, 0o644), os.Rename(s.script+".next", s.script))
	}
	if err != nil {
		panic(err)
	}
}

// ask sends a request to ComfyUI itself, and reports whether it was answered.
func (s *soak) ask(method, path, body string, into any) bool {
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://127.0.0.1:"+s.env["COMFY_PORT"]+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	quick := http.Client{Transport: client.Transport, Timeout: 5 * time.Second}
	resp, err := quick.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	if into == nil {
		return resp.StatusCode == http.StatusOK
	}
	return json.NewDecoder(resp.Body).Decode(into) == nil
}

// logOf prints the last lines of the log that are about a job.
func (s *soak) logOf(j *soakJob) {
	words := []string{j.id, j.tag, comfy.PromptID(j.id, 1), comfy.PromptID(j.id, 2)}
	var about []string
	for line := range strings.Lines(s.log()) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			about = append(about, line)
		}
	}
	s.t.Logf("the log of %s:\n%s", j.id, strings.Join(about[max(0, len(about)-200):], ""))
}

// forget drops what was needed to judge a block.
func (s *soak) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.records)
	clear(s.twice)
	s.losses, s.done = nil, ""
}

// turnLog reads the log of a block, and begins a new one.
func (s *soak) turnLog() {
	s.t.Helper()
	log := s.log()
	for text, wrong := range map[string]string{
		`"exit status lost"`: "tells that an exit status was lost",
		`"panic":`:           "tells of a panic",
	} {
		if strings.Contains(log, text) {
			s.wrong(soakQuiet, "the log %s", wrong)
		}
	}
	for line := range strings.Lines(log) {
		if s.secret([]byte(line)) {
			s.wrong(soakSecret, "the log tells a secret: %s", line)
		}
	}
	s.counts.readLog(log)
	s.shorten(0)
}

// shorten stores the log if that is asked for, and drops all but its last lines:
// the whole of it would bury what matters.
func (s *soak) shorten(lines int) {
	if err := keepSoak(s.counts.version+".log", []byte(s.log())); err != nil {
		s.t.Error(err)
	}
	s.program.mu.Lock()
	defer s.program.mu.Unlock()
	s.lines = s.lines[max(0, len(s.lines)-lines):]
}
