package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var writeGrowth = flag.Bool("growth", false, "measure how cost grows, and write docs/growth.md")

// TestGrowth writes the tables of docs/growth.md and the plot beside it.
func TestGrowth(t *testing.T) {
	if !*writeGrowth {
		t.Skip("measures only with -growth, as make growth does")
	}
	var text strings.Builder
	text.WriteString("\n![Memory and time over each of the numbers below](growth.svg)\n\n" + conditions())
	var panels []panel
	for _, s := range allSeries() {
		fmt.Fprintf(&text, "| %s | %s | %s |\n|---:|---:|---:|\n", s.what, s.columns[0], s.columns[1])
		first, second := panel{title: s.columns[0], x: s.what}, panel{title: s.columns[1], x: s.what}
		for _, n := range s.sizes {
			got := s.measure(t, n)
			t.Logf("%s %d: %.4g %.4g", s.name, n, got[0], got[1])
			fmt.Fprintf(&text, "| %s | %s | %s |\n", count(n), short(got[0]), short(got[1]))
			first.add(n, got[0])
			second.add(n, got[1])
		}
		text.WriteString("\n")
		panels = append(panels, first, second)
	}
	writeMarked(t, "../docs/growth.md", "measured", strings.TrimSuffix(text.String(), "\n"))
	if err := os.WriteFile("../docs/growth.svg", []byte(plot(panels)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What must not grow does not: neither the size of an output, nor their number,
// nor what ComfyUI logs, makes comfyvisor need more memory.
func TestMemoryDoesNotGrow(t *testing.T) {
	const (
		most = 48 // MB
		more = 16 // MB beside what the smallest needs
	)
	tests := []struct {
		name  string
		peak  func(n int) [2]float64
		sizes [2]int
	}{
		{"output", func(n int) [2]float64 { return passed(t, 1, n) }, [2]int{1e3, 2e8}},
		{"outputs", func(n int) [2]float64 { return passed(t, n, 200_000) }, [2]int{1, 512}},
		{"log", func(n int) [2]float64 { return flooded(t, n) }, [2]int{1e5, 1e8}},
	}
	for _, tt := range tests {
		little, much := tt.peak(tt.sizes[0])[0], tt.peak(tt.sizes[1])[0]
		t.Logf("%s: %.1f MB of %d, %.1f MB of %d", tt.name, little, tt.sizes[0], much, tt.sizes[1])
		if much > most || much > little+more {
			t.Errorf("%s: %.1f MB of memory with %d, %.1f MB with %d", tt.name, little, tt.sizes[0], much, tt.sizes[1])
		}
	}
}
