package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/runpodtest"
)

// soakCounts is what a soak has to tell at its end.
type soakCounts struct {
	version      string
	broken       map[soakInvariant]int
	begun        time.Time
	outcomes     map[string]int
	tried        map[string]int // faults by name
	took         map[string]int // of which had an effect
	kills        []soakEvent    // since the log was read last
	rests        []soakRest
	backlog      time.Duration // longest time from the last fault to the last end
	longest      time.Duration // of a zombie
	recoveries   soakRecoveries
	firsts       []soakEvent // of executions, since the log was read last
	incarnations int
	slowest      []soakSlow // the longest first
	// doubled are jobs that ComfyUI started twice, spoilt those that two deaths failed.
	doubled, spoilt int
}

func newSoakCounts(version string) soakCounts {
	return soakCounts{version: version, begun: time.Now(), broken: make(map[soakInvariant]int), outcomes: make(map[string]int), tried: make(map[string]int), took: make(map[string]int)}
}

func (c *soakCounts) injected(name string, took bool) {
	c.tried[name]++
	if took {
		c.took[name]++
	}
}

func (c *soakCounts) tookEffect(name string) { c.took[name]++ }

func (c *soakCounts) zombie(d time.Duration) { c.longest = max(c.longest, d) }

// A soakSlow is a job that took long.
type soakSlow struct {
	took      time.Duration
	id, story string
}

// soakSlowest is how many of them are told.
const soakSlowest = 5

// count counts the end of a job.
func (c *soakCounts) count(j *soakJob, seen soakSeen) {
	outcome := seen.outcome()
	c.outcomes[strings.Fields(j.kind)[0]+" → "+outcome]++
	if len(seen.starts[1]) > 0 {
		c.doubled++
	}
	if !slices.Contains(j.outcomes, outcome) {
		c.spoilt++
	}
	first := slices.IndexFunc(seen.queue.Handouts, func(h runpodtest.Handout) bool { return !h.Torn })
	if first < 0 || seen.queue.Outcome == nil {
		return
	}
	took := lastWord(seen.queue).Sub(seen.queue.Handouts[first].At).Round(time.Millisecond)
	c.slowest = append(c.slowest, soakSlow{took, j.id, j.kind + " → " + outcome})
	slices.SortFunc(c.slowest, func(a, b soakSlow) int { return cmp.Compare(b.took, a.took) })
	c.slowest = c.slowest[:min(soakSlowest, len(c.slowest))]
}

// report is one screen.
func (s *soak) report(seed uint64, replay string) string {
	c := &s.counts
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s "+format+"\n", append([]any{name}, args...)...)
	}
	took := time.Since(c.begun)
	fmt.Fprintf(&b, "soak of ComfyUI %s, seed %d\n", c.version, seed)
	line("jobs", "%d in %v, %.1f a second; %d ran twice, %d failed by two deaths", s.jobs, took.Round(time.Millisecond),
		float64(s.jobs)/took.Seconds(), c.doubled, c.spoilt)
	for _, name := range slices.Sorted(maps.Keys(c.outcomes)) {
		line("", "%4d %s", c.outcomes[name], name)
	}
	tried, hit := 0, 0
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(c.tried)) {
		tried, hit = tried+c.tried[name], hit+c.took[name]
		faults = append(faults, fmt.Sprintf("%s %d/%d", name, c.took[name], c.tried[name]))
	}
	line("faults", "%d took effect of %d", hit, tried)
	for group := range slices.Chunk(faults, 3) {
		line("", "%s", strings.Join(group, ", "))
	}
	ledger := s.q.Ledger()
	line("queue", "calls that went wrong: %v; %d takes, %d pings", ledger.Faults, len(ledger.Takes), len(ledger.Pings))
	line("incarnations", "%d", c.incarnations)
	for _, text := range c.recoveries.lines() {
		line("", "%s", text)
	}
	for i, r := range append([]soakRest{s.base}, c.rests...) {
		line("at rest", "block %d: %d fds, %d goroutines, %d MB resident, heap %d MB", i, r.FDs, r.Goroutines, r.RSS>>20, r.Heap>>20)
	}
	for _, slow := range c.slowest {
		line("slow", "%v %s %s", slow.took, slow.id, slow.story)
	}
	line("longest", "backlog %v, zombie %v", c.backlog.Round(time.Millisecond), c.longest.Round(time.Millisecond))
	line("replay", "%s", replay)
	return b.String()
}

// soakUnderRace tells whether the race detector is on, which multiplies memory.
func soakUnderRace() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
