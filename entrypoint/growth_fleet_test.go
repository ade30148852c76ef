package main

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var fleetPods = flag.Int("growth.pods", 50, "how many pods the simulated fleet has")

// The calls of the queue's protocol.
const (
	take = iota
	stop
	heartbeat
	progress
	result
)

var calls = [...]string{"take", "stop", "heartbeat", "progress", "result"}

// A fleet is many pods at one queue, in virtual time.
type fleet struct {
	what string
	// hold is how long the queue holds a poll that it has nothing for, and jobs how
	// many jobs of 10 s it is given in a second for each pod.
	hold time.Duration
	jobs float64
	// down is what it answers in the two minutes that are watched, 0 if it works.
	down       int
	retryAfter string
	// paper is how many of the calls each pod makes in a second then, by the rules.
	paper [len(calls)]float64
}

// The rules of internal/runpod, in seconds.
const (
	heldFor    = 90.0
	jobTime    = 10.0
	failPause  = 15.0 / 2     // the mean between two calls that fail: anything up to 15 s
	askedPause = 30.0 * 7 / 6 // Retry-After, and up to a third
	perBeat    = 10.0
	perReport  = 2.0
)

// The parts of a run: the pods start, it is watched, and it is watched how the
// queue comes back.
const (
	fleetStart   = 100 * time.Second
	fleetWatched = 2 * time.Minute
	fleetAfter   = 30 * time.Second
)

func fleets() []fleet {
	const load = 0.5 / jobTime // half of the pods are busy
	const hold = heldFor * time.Second
	return []fleet{
		{what: "no jobs, polls held for 90 s", hold: hold, paper: [...]float64{1 / heldFor, 1 / heldFor, 1 / perBeat, 0, 0}},
		{what: "no jobs, polls answered at once", paper: [...]float64{1, 1, 1 / perBeat, 0, 0}},
		{what: "half of the pods busy", hold: hold, jobs: load, paper: [...]float64{load, 1 / heldFor, 1 / perBeat, load * (jobTime/perReport + 1), load}},
		{what: "no jobs, 503", hold: hold, down: 503, paper: [...]float64{1 / failPause, 1 / failPause, 1 / perBeat, 0, 0}},
		{what: "no jobs, 429 with `Retry-After: 30`", hold: hold, down: 429, retryAfter: "30",
			paper: [...]float64{1 / askedPause, 1 / askedPause, 1 / perBeat, 0, 0}},
		{what: "half of the pods busy, then 503", hold: hold, jobs: load, down: 503,
			paper: [...]float64{1 / failPause, 1 / failPause, 1 / perBeat, 0, 0.5 / failPause}},
	}
}

// A fleet asks its queue no more than the rules say, in good times and in an
// outage, and does not come back all at once.
func TestFleetKeepsToTheRules(t *testing.T) {
	pods := *fleetPods
	var table strings.Builder
	fmt.Fprintf(&table, "\n| %d pods | %s | back |\n|---|%s---:|\n", pods, strings.Join(calls[:], " | "), strings.Repeat("---:|", len(calls)))
	for _, f := range fleets() {
		t.Run(f.what, func(t *testing.T) {
			q := f.run(t, pods)
			fmt.Fprintf(&table, "| %s ", f.what)
			for call, name := range calls {
				mean, most := q.between(call, fleetStart, fleetStart+fleetWatched)
				paper := f.paper[call] * float64(pods)
				fmt.Fprintf(&table, "| %s, %s, %d ", short(paper), short(mean), most)
				if mean > 1.5*paper+0.02*float64(pods) {
					t.Errorf("%s: %.1f a second, %.1f by the rules", name, mean, paper)
				}
				if mean < paper/2 {
					t.Errorf("%s: %.1f a second, %.1f by the rules: these tell something else", name, mean, paper)
				}
			}
			back := q.back()
			if f.down == 0 {
				table.WriteString("| |\n")
				return
			}
			fmt.Fprintf(&table, "| %d |\n", back)
			limit := pods
			if f.jobs > 0 { // all of them find one of the jobs that have gathered
				limit *= 2
			}
			if back > limit {
				t.Errorf("%d calls in a second as the queue is back, want at most %d", back, limit)
			}
		})
	}
	t.Log(table.String())
	if *writeGrowth {
		writeMarked(t, "../docs/growth.md", "simulated", table.String())
	}
}

// back is the largest number of calls of all kinds in a second after the queue
// was down.
func (q *fleetQueue) back() (most int) {
	from := fleetStart + fleetWatched
	for at := from; at < from+fleetAfter; at += time.Second {
		sum := 0
		for call := range calls {
			_, n := q.between(call, at, at+time.Second)
			sum += n
		}
		most = max(most, sum)
	}
	return most
}
