package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A soakRecovery is how long each part of a recovery from a kill took.
type soakRecovery struct {
	detect time.Duration // from the signal to "process exited"
	spawn  time.Duration // from there to "process running"
	boot   time.Duration // from there to "gate open"
	post   time.Duration // from there to the next execution
	gate   time.Duration // from the signal to "gate open"
}

type soakRecoveries []soakRecovery

// soakRecoveryParts are the parts of a recovery, by name.
var soakRecoveryParts = []struct {
	name string
	of   func(soakRecovery) time.Duration
}{
	{"detection", func(r soakRecovery) time.Duration { return r.detect }},
	{"spawn", func(r soakRecovery) time.Duration { return r.spawn }},
	{"boot", func(r soakRecovery) time.Duration { return r.boot }},
	{"first prompt", func(r soakRecovery) time.Duration { return r.post }},
	{"kill to open gate", func(r soakRecovery) time.Duration { return r.gate }},
}

// quantiles are p50, p99 and the longest of each part.
func (all soakRecoveries) quantiles() map[string][]time.Duration {
	parts := make(map[string][]time.Duration)
	for _, part := range soakRecoveryParts {
		var took []time.Duration
		for _, r := range all {
			took = append(took, part.of(r))
		}
		slices.Sort(took)
		for _, q := range []float64{0.5, 0.99, 1} {
			parts[part.name] = append(parts[part.name], soakQuantile(took, q))
		}
	}
	return parts
}

func (all soakRecoveries) lines() (lines []string) {
	parts := all.quantiles()
	for _, part := range soakRecoveryParts {
		q := parts[part.name]
		lines = append(lines, fmt.Sprintf("%s: p50 %v, p99 %v, max %v (%d kills)", part.name, q[0], q[1], q[2], len(all)))
	}
	return lines
}

// readLog takes incarnations and recoveries from a part of comfyvisor's log.
func (c *soakCounts) readLog(log string) {
	exited, running, opened := eventsOf(log, "process exited"), eventsOf(log, "process running"), eventsOf(log, "gate open")
	c.incarnations += len(running)
	slices.SortFunc(c.firsts, func(a, b soakEvent) int { return a.Time.Compare(b.Time) })
	for _, killed := range c.kills {
		dead := firstAfter(exited, killed)
		born := firstAfter(running, dead)
		open := firstAfter(opened, born)
		post := firstAfter(c.firsts, open)
		if dead.Incarnation == killed.Incarnation && !post.Time.IsZero() { // else it was dead already
			c.recoveries = append(c.recoveries, soakRecovery{dead.Sub(killed.Time), born.Sub(dead.Time), open.Sub(born.Time), post.Sub(open.Time), open.Sub(killed.Time)})
		}
	}
	c.kills, c.firsts = nil, nil
}

// A soakEvent is something that happened to an incarnation.
type soakEvent struct {
	time.Time
	Incarnation int // 0 where that does not matter
}

// firstAfter is the first event after another, zero if there is none or the other is
// zero.
func firstAfter(events []soakEvent, at soakEvent) soakEvent {
	i := slices.IndexFunc(events, func(e soakEvent) bool { return e.After(at.Time) })
	if i < 0 || at.IsZero() {
		return soakEvent{}
	}
	return events[i]
}

// eventsOf are those of all lines with a message.
func eventsOf(log, message string) (events []soakEvent) {
	for text := range strings.Lines(log) {
		var line struct {
			Time        time.Time
			Message     string
			Incarnation int
		}
		if strings.Contains(text, message) && json.Unmarshal([]byte(text), &line) == nil && line.Message == message {
			events = append(events, soakEvent{line.Time, line.Incarnation})
		}
	}
	return events
}

func soakQuantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))].Round(100 * time.Microsecond)
}
