package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

var benchTable = flag.Bool("bench.table", false, "measure, and write the table in docs/benchmarks.md")

// A figure is one number that was measured, and that of the floor: 0 if there is
// none.
type figure struct {
	of          string // p50, p99, or what it is the median of
	unit        string
	ours, floor float64
}

// A measurement is one row of docs/benchmarks.md for each of its figures.
type measurement struct {
	name    string // for -bench
	what    string
	goals   []string // of each figure
	measure func(*testing.B) []figure
}

func measurements() []measurement {
	return []measurement{
		{"gap/1x100KB", "ComfyUI idle between two prompts, one image of 100 KB", []string{"< 3", ""}, gap(false, 1, 100_000)},
		{"gap/4x2MB", "ComfyUI idle between two prompts, four images of 2 MB", []string{"< 3", ""}, gap(false, 4, 2_000_000)},
		{"gap/prefetch/1x100KB", "the same with `JOB_PREFETCH=1`, one image of 100 KB", []string{"< 0.1", ""}, gap(true, 1, 100_000)},
		{"gap/prefetch/4x2MB", "the same with `JOB_PREFETCH=1`, four images of 2 MB", []string{"< 0.1", ""}, gap(true, 4, 2_000_000)},
		{"overhead/1x100KB", "job without its execution, one image of 100 KB", []string{"< 3", ""}, overhead(1, 100_000)},
		{"overhead/1x2MB", "job without its execution, one image of 2 MB", []string{"< 8", ""}, overhead(1, 2_000_000)},
		{"overhead/1x10MB", "job without its execution, one image of 10 MB", []string{"< 25", ""}, overhead(1, 10_000_000)},
		{"overhead/16x2MB", "job without its execution, sixteen images of 2 MB", []string{"< 60", ""}, overhead(16, 2_000_000)},
		{"overhead/s3/1x2MB", "the same to S3, one image of 2 MB", []string{"", ""}, overheadS3(1, 2_000_000)},
		{"overhead/s3/16x2MB", "the same to S3, sixteen images of 2 MB", []string{"", ""}, overheadS3(16, 2_000_000)},
		{"end", "end of a prompt to its outcome known", []string{"", ""}, promptEnds},
		{"throughput", "jobs that take no time", []string{"> 200"}, throughput(false)},
		{"throughput/prefetch", "jobs that take no time, `JOB_PREFETCH=1`", []string{"> 200"}, throughput(true)},
		{"start", "start", []string{"< 20", "< 10", "< 5", "< 30"}, starts},
		{"crash", "death of ComfyUI to its next exec", []string{"", "< 10"}, crashes},
		{"relay", "output of ComfyUI taken", []string{"", ""}, relay},
		{"events", "events of ComfyUI understood", []string{""}, events},
		{"idle", "waiting for jobs", []string{"< 20", ""}, idle},
		{"memory/16x2MB", "memory, sixteen images of 2 MB", []string{"< 32"}, passing(5, 16, 2_000_000)},
		{"memory/16x50MB", "memory, sixteen images of 50 MB", []string{"< 32"}, passing(1, 16, 50_000_000)},
		{"binary", "the program", []string{"< 20"}, size},
	}
}

// rowLimit bounds the measurement of one row.
const rowLimit = 5 * time.Minute

// BenchmarkComfyvisor measures the whole program, and its worker between
// simulated peers. A part of it is measured by, say, -bench Comfyvisor/gap. With
// -bench.table it writes the table of docs/benchmarks.md, if every row was measured.
func BenchmarkComfyvisor(b *testing.B) {
	table := "\n" + conditions() + "| | goal | measured | floor | times the floor |\n|---|---:|---:|---:|---:|\n"
	for _, m := range measurements() {
		var figures []figure
		b.Run(m.name, func(b *testing.B) {
			late := time.AfterFunc(rowLimit, func() {
				debug.SetTraceback("all")
				panic(fmt.Sprintf("%s is not measured after %v", m.name, rowLimit))
			})
			defer late.Stop()
			figures = m.measure(b)
			for _, f := range figures {
				b.ReportMetric(f.ours, f.metric())
				if f.floor != 0 {
					b.ReportMetric(f.floor, "floor-"+f.metric())
				}
			}
		})
		if figures == nil && *benchTable {
			b.Fatalf("%s was not measured: there is no table", m.name)
		}
		for i, f := range figures {
			table += f.row(m.what, m.goals[i]) + "\n"
		}
	}
	if *benchTable {
		writeMarked(b, "../docs/benchmarks.md", "measured", table)
	}
}

// metric is the unit of a benchmark's line.
func (f figure) metric() string {
	return strings.NewReplacer(" ", "-", "'", "").Replace(f.of) + "-" + f.unit
}

// writeMarked puts text in the place of a document that begins with a mark.
func writeMarked(t testing.TB, file, mark, text string) {
	t.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	place := regexp.MustCompile(`(?s)(<!-- ` + mark + ` -->\n).*?(<!-- end -->)`)
	if !place.Match(doc) {
		t.Fatalf("%s has no place for what was %s", file, mark)
	}
	doc = place.ReplaceAll(doc, []byte("${1}"+strings.ReplaceAll(text, "$", "$$")+"\n${2}"))
	if err := os.WriteFile(file, doc, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (f figure) row(what, goal string) string {
	floor, times := "", ""
	if f.floor != 0 {
		floor, times = fmt.Sprintf("%.3g", f.floor), fmt.Sprintf("%.2g", f.ours/f.floor)
	}
	if goal != "" {
		goal += " " + f.unit
	}
	return fmt.Sprintf("| %s: %s | %s | %.3g %s | %s | %s |", what, f.of, goal, f.ours, f.unit, floor, times)
}

// conditions are those of a measurement, as a sentence.
func conditions() string {
	return fmt.Sprintf("Measured on %s: %s, %d cores, %s, load %s.\n\n",
		time.Now().UTC().Format(time.DateOnly), processorName(), runtime.NumCPU(), runtime.Version(), load())
}

func processorName() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // not everywhere
	_, rest, _ := strings.Cut(string(info), "model name")
	name, _, _ := strings.Cut(strings.TrimLeft(rest, "\t :"), "\n")
	return cmp.Or(name, runtime.GOARCH)
}

// load is the number of processes that wanted a processor in the last minute.
func load() string {
	loads, _ := os.ReadFile("/proc/loadavg") // Linux has it
	load, _, _ := strings.Cut(string(loads), " ")
	return load
}
