package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A soakRest is what comfyvisor holds while it has nothing to do.
type soakRest struct {
	FDs, Goroutines int
	RSS, Heap       int64 // bytes, the heap with what the next collection frees
}

// The largest differences between two moments of rest that are no growth.
const (
	soakFDs        = 8         // connections that are kept for a while
	soakGoroutines = 20        // two for each of those
	soakRSS        = 112 << 20 // of which 64 MiB are results that may be asked for again
)

// rest waits until comfyvisor has come to rest and looks around in its house.
func (s *soak) rest() soakRest {
	s.t.Helper()
	var r soakRest
	tidy := func() string { r = s.measure(); return s.untidy(r) }
	deadline := time.Now().Add(15 * time.Second)
	s.until("comfyvisor is at rest", func() bool { return tidy() == "" || time.Now().After(deadline) })
	if why := tidy(); why != "" {
		s.wrong(soakFlat, "at rest after %d jobs: %s", s.jobs, why)
	}
	var ledger comfytest.Ledger
	if s.ask(http.MethodGet, "/sim/ledger", "", &ledger) {
		s.unrushed(ledger)
	}
	s.lookForSecrets()
	return r
}

// untidy says what is not as it has to be at rest, "" if nothing is.
func (s *soak) untidy(r soakRest) string {
	var why []string
	for _, dir := range soakHouse() {
		if left, _ := filepath.Glob(s.inside(dir)); len(left) > 0 {
			why = append(why, fmt.Sprintf("%d files or folders are left in %s: %v", len(left), dir, left[:min(3, len(left))]))
		}
	}
	var ledger comfytest.Ledger
	if s.ask(http.MethodGet, "/sim/ledger", "", &ledger) && ledger.History > 10 {
		why = append(why, fmt.Sprintf("ComfyUI's history has %d entries", ledger.History))
	}
	if strays := s.strays(); len(strays) > 0 {
		why = append(why, fmt.Sprintf("processes that belong to nobody: %v", strays))
	}
	if s.base == (soakRest{}) {
		return strings.Join(why, "; ")
	}
	if r.FDs > s.base.FDs+soakFDs {
		why = append(why, fmt.Sprintf("%d descriptors are open, %d were", r.FDs, s.base.FDs))
	}
	if r.Goroutines > s.base.Goroutines+soakGoroutines {
		why = append(why, fmt.Sprintf("%d goroutines run, %d did", r.Goroutines, s.base.Goroutines))
	}
	if r.RSS > soakRSS && !soakUnderRace() {
		why = append(why, fmt.Sprintf("it uses %d MB of memory", r.RSS>>20))
	}
	return strings.Join(why, "; ")
}

// compare takes down what is held at rest.
func (s *soak) compare(r soakRest) {
	s.counts.rests = append(s.counts.rests, r)
}

// measure reads the metrics.
func (s *soak) measure() (r soakRest) {
	s.t.Helper()
	resp, err := client.Get(s.status + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		name, text, _ := strings.Cut(in.Text(), " ")
		value, _ := strconv.ParseFloat(text, 64)
		switch name {
		case "process_open_fds":
			r.FDs = int(value)
		case "go_goroutines":
			r.Goroutines = int(value)
		case "go_memstats_heap_alloc_bytes":
			r.Heap = int64(value)
		case "process_resident_memory_bytes":
			r.RSS = int64(value)
		}
	}
	if r.FDs == 0 || r.Goroutines == 0 || r.RSS == 0 {
		s.t.Fatalf("the metrics lack something: %+v", r)
	}
	return r
}

// A soakProcess is one process of the namespace, by the numbers of the host.
type soakProcess struct {
	pid, parent int
	inside      int // its number in the namespace
	state, name string
}

// processes are those of the namespace.
func (s *soak) processes() (all []soakProcess) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Error(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err == nil && space != s.space {
			continue
		}
		if p, ok := readSoakProcess(pid); ok {
			all = append(all, p)
		}
	}
	return all
}

// readSoakProcess reads a process that lives in a namespace below ours.
func readSoakProcess(pid int) (p soakProcess, ok bool) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return p, false // it has ended
	}
	p.pid = pid
	for line := range strings.Lines(string(raw)) {
		field, value, _ := strings.Cut(line, ":")
		words := strings.Fields(value)
		switch {
		case len(words) == 0:
		case field == "Name":
			p.name = words[0]
		case field == "State":
			p.state = words[0]
		case field == "PPid":
			p.parent, _ = strconv.Atoi(words[0])
		case field == "NSpid" && len(words) > 1:
			p.inside, _ = strconv.Atoi(words[len(words)-1])
		}
	}
	return p, p.inside != 0
}

// comfyHostPID is the number by which we know the ComfyUI that runs, 0 if none
// does.
func (s *soak) comfyHostPID() int {
	inside := s.state().Instances[0].PID
	for _, p := range s.processes() {
		if p.inside == inside && p.inside != 0 {
			return p.pid
		}
	}
	return 0
}

// strays are processes that are neither comfyvisor nor its decoy nor ComfyUI nor
// descend from the latter.
func (s *soak) strays() []soakProcess {
	all := s.processes()
	family := []int{s.cmd.Process.Pid, s.comfyHostPID()}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !slices.Contains(family, p.pid) && slices.Contains(family[1:], p.parent) {
				family, grown = append(family, p.pid), true
			}
		}
	}
	return slices.DeleteFunc(all, func(p soakProcess) bool { return slices.Contains(family, p.pid) || p.isDecoy() })
}

// isDecoy tells whether it is the process that the out-of-memory killer is to
// take in place of comfyvisor.
func (p soakProcess) isDecoy() bool {
	args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid)) // or it has ended
	return strings.HasSuffix(string(args), "\x00"+decoyCommand+"\x00")
}

// zombieLimit is how long comfyvisor may leave a dead child; the bound allows
// for a loaded machine.
const zombieLimit = 2 * time.Second

// watchZombies looks for them until endWatch is called, which reports them.
func (s *soak) watchZombies() {
	stop, ended := make(chan struct{}), make(chan struct{})
	self := s.cmd.Process.Pid
	seen := make(map[soakProcess]time.Time)
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			now := make(map[soakProcess]time.Time)
			for _, p := range s.processes() {
				if p.state != "Z" || p.parent != self {
					continue
				}
				now[p] = time.Now()
				if first, ok := seen[p]; ok {
					now[p] = first
				}
				s.counts.zombie(time.Since(now[p]))
			}
			seen = now
		}
	}()
	s.endWatch = func() {
		close(stop)
		<-ended
		s.endWatch = func() {}
		if s.counts.longest > zombieLimit {
			s.wrong(soakReaped, "a zombie was left for %v", s.counts.longest)
		}
	}
	s.t.Cleanup(func() { s.endWatch() })
}
