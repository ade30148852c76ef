package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A soakTotal is what all pods of a soak have to tell together.
type soakTotal struct {
	Seed               uint64
	Commit, Go, Kernel string
	CPUs, Pods, Jobs   int
	Seconds            float64
	Outcomes           map[string]int // by kind of job and end
	Faults             map[string]soakEffect
	Incarnations       int // of ComfyUI
	Replaced, Killed   int // pods, and by SIGKILL
	RanTwice           int
	Recovery           map[string][]time.Duration // p50, p99, max of each part, in nanoseconds
	Backlog, Zombie    time.Duration              // the longest
	Rests              [][]soakRest               // by pod and block
	Broken             map[soakInvariant]int
	Replay             string

	mu         sync.Mutex
	begun      time.Time
	recoveries soakRecoveries
}

// A soakEffect is how often a fault was tried, and took effect.
type soakEffect struct{ Tried, Took int }

func newSoakTotal(seed uint64) *soakTotal {
	return &soakTotal{
		Seed: seed, begun: time.Now(), Outcomes: make(map[string]int),
		Faults: make(map[string]soakEffect), Broken: make(map[soakInvariant]int),
	}
}

// add adds what a pod has counted.
func (x *soakTotal) add(s *soak) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := &s.counts
	x.Pods++
	x.Jobs += s.jobs
	x.Incarnations += c.incarnations
	x.Replaced += s.pods - 1
	x.Killed += s.killed
	x.RanTwice += c.doubled
	x.Backlog, x.Zombie = max(x.Backlog, c.backlog), max(x.Zombie, c.longest)
	x.recoveries = append(x.recoveries, c.recoveries...)
	x.Rests = append(x.Rests, append([]soakRest{s.base}, c.rests...))
	for name, n := range c.outcomes {
		x.Outcomes[name] += n
	}
	for name, tried := range c.tried {
		f := x.Faults[name]
		x.Faults[name] = soakEffect{f.Tried + tried, f.Took + c.took[name]}
	}
	for inv, n := range c.broken {
		x.Broken[inv] += n
	}
}

// tell prints the total, and stores it where that is asked for. A fault that was
// tried often and never hit fails the test: it proves nothing.
func (x *soakTotal) tell(t *testing.T) {
	x.finish()
	for name, f := range x.Faults {
		if f.Tried >= 20 && f.Took == 0 {
			t.Errorf("the fault %q was tried %d times and never took effect", name, f.Tried)
		}
	}
	if whole := x.Jobs > soakWhole && !t.Failed(); whole && (x.deaths() < x.Jobs/soakDeathEvery || x.Replaced < x.Jobs/soakReplaceEvery) {
		t.Errorf("%d deaths of ComfyUI and %d pods replaced are too few for %d jobs", x.deaths(), x.Replaced, x.Jobs)
	}
	t.Log(x.String())
	if *soakJSON == "" {
		return
	}
	raw, err := json.MarshalIndent(x, "", "  ")
	if err == nil {
		err = os.WriteFile(*soakJSON, raw, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// A soak of so many jobs is a whole one: ComfyUI has to die, and pods have to be
// replaced, once in so many of them at least.
const (
	soakWhole        = 3000
	soakDeathEvery   = 10
	soakReplaceEvery = 150
)

// deaths is how often ComfyUI ended, apart from the ends of its pods.
func (x *soakTotal) deaths() int { return x.Incarnations - x.Replaced - x.Pods }

func (x *soakTotal) finish() {
	x.Seconds = time.Since(x.begun).Seconds()
	x.Go, x.CPUs = runtime.Version(), runtime.NumCPU()
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output() // none outside of a checkout
	x.Commit = strings.TrimSpace(string(commit))
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		x.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	x.Recovery = x.recoveries.quantiles()
	x.Replay = fmt.Sprintf("go test ./entrypoint -run '^TestSoakJobsSurviveEverything$' -count=1 -v -parallel %d -soak.jobs=%d -soak.pods=%d -soak.every=%d -soak.block=%d -soak.seed=%d",
		*soakPods, *soakJobs, *soakPods, *soakEvery, *soakBlock, x.Seed)
}

// String is one screen.
func (x *soakTotal) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("soak, seed %d, commit %s, %s, Linux %s, %d CPUs", x.Seed, x.Commit, x.Go, x.Kernel, x.CPUs)
	line("  %d jobs in %.0f s, %.1f a second, %d pods side by side; %d jobs ran twice", x.Jobs, x.Seconds, float64(x.Jobs)/x.Seconds, x.Pods, x.RanTwice)
	line("  ComfyUI started %d times, after %d deaths; %d pods replaced, %d of them killed", x.Incarnations, x.deaths(), x.Replaced, x.Killed)
	for _, text := range x.recoveries.lines() {
		line("  %s", text)
	}
	line("  longest: backlog %v, zombie %v", x.Backlog.Round(time.Millisecond), x.Zombie.Round(time.Millisecond))
	for _, name := range slices.Sorted(maps.Keys(x.Outcomes)) {
		line("  %6d %s", x.Outcomes[name], name)
	}
	for _, name := range slices.Sorted(maps.Keys(x.Faults)) {
		line("  %6d of %d took effect: %s", x.Faults[name].Took, x.Faults[name].Tried, name)
	}
	for i, rests := range x.Rests {
		first, last := rests[0], rests[len(rests)-1]
		line("  pod %d at rest, first and last: %d and %d fds, %d and %d goroutines, %d and %d MB resident", i,
			first.FDs, last.FDs, first.Goroutines, last.Goroutines, first.RSS>>20, last.RSS>>20)
	}
	for _, inv := range soakInvariants() {
		verdict := "holds"
		if n := x.Broken[inv]; n > 0 {
			verdict = fmt.Sprintf("BROKEN %d times", n)
		}
		line("  %s: %s", verdict, inv)
	}
	line("  replay: %s", x.Replay)
	return b.String()
}
