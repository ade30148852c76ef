package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// prefix is the filename_prefix of workflows that are measured.
const prefix = "bench"

// executed is a workflow that takes 30 ms and then writes count files of so many
// bytes: a prompt that takes no time leaves none in which to queue the next.
func executed(count, bytes int) string {
	return fmt.Sprintf(`{"0":{"class_type":"SimSleep","inputs":{"seconds":0.03}},%s`, imageFiles(count, bytes)[1:])
}

// imageFiles is a workflow that writes count files of so many bytes.
func imageFiles(count, bytes int) string {
	return fmt.Sprintf(`{"1":{"class_type":"SimFiles","inputs":{"count":%d,"bytes":%d,"kind":"images","ext":"png","filename_prefix":%q}}}`, count, bytes, prefix)
}

// gap measures how long ComfyUI is idle between two prompts while the queue is
// never empty.
func gap(prefetch bool, count, bytes int) func(*testing.B) []figure {
	return func(b *testing.B) []figure {
		ours, floor := bothWays(b, prefetch)
		var gaps, least []time.Duration
		for b.Loop() {
			gaps = append(gaps, ours.round(20, executed(count, bytes)).gaps()...)
			least = append(least, floor.round(20, executed(count, bytes)).gaps()...)
		}
		p50, p99 := quantiles(gaps, least)
		return []figure{p50, p99}
	}
}

// overhead measures what a job costs beside its execution.
func overhead(count, bytes int) func(*testing.B) []figure {
	return func(b *testing.B) []figure {
		ours, floor := bothWays(b, false)
		var took, least []time.Duration
		for b.Loop() {
			took = append(took, ours.round(1, imageFiles(count, bytes)).overhead())
			least = append(least, floor.round(1, imageFiles(count, bytes)).overhead())
		}
		p50, p99 := quantiles(took, least)
		return []figure{p50, p99}
	}
}

// throughput measures jobs per second of prompts that take no time.
func throughput(prefetch bool) func(*testing.B) []figure {
	return func(b *testing.B) []figure {
		const jobs = 200
		ours, floor := bothWays(b, prefetch)
		rate := func(s *stand) float64 {
			r := s.round(jobs, text)
			return jobs / r.delivered[jobs-1].at.Sub(r.taken[0]).Seconds()
		}
		var rates, most []float64
		for b.Loop() {
			rates, most = append(rates, rate(ours)), append(most, rate(floor))
		}
		return []figure{{of: "median", unit: "jobs/s", ours: median(rates), floor: median(most)}}
	}
}

// quantiles are the median and the 99th percentile of two lists of durations.
func quantiles(ours, floor []time.Duration) (p50, p99 figure) {
	return medians("p50", ours, floor), figure{of: "p99", unit: "ms", ours: at(ours, 0.99), floor: at(floor, 0.99)}
}

func medians(of string, ours, floor []time.Duration) figure {
	return figure{of: of, unit: "ms", ours: at(ours, 0.5), floor: at(floor, 0.5)}
}

// at is a quantile in milliseconds, 0 of nothing.
func at(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return millis(all[int(q*float64(len(all)))])
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
