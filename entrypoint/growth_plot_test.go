package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// A panel is one curve of a plot, over numbers that grow by factors.
type panel struct {
	title, x string
	xs, ys   []float64
}

func (p *panel) add(x int, y float64) {
	p.xs, p.ys = append(p.xs, float64(x)), append(p.ys, y)
}

// Sizes in a plot, in pixels.
const (
	panelWidth, panelHeight = 420, 190
	leftEdge, rightEdge     = 56, 16
	topEdge, bottomEdge     = 30, 42
)

// plot draws panels as SVG, two in a row.
func plot(panels []panel) string {
	var b strings.Builder
	rows := (len(panels) + 1) / 2
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", 2*panelWidth, rows*panelHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", 2*panelWidth, rows*panelHeight)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%2*panelWidth, i/2*panelHeight)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws the curve: the number on a logarithmic axis, what it costs on a
// linear one from 0.
func (p panel) draw(b *strings.Builder) {
	top := nice(p.ys)
	width, height := float64(panelWidth-leftEdge-rightEdge), float64(panelHeight-topEdge-bottomEdge)
	first, last := math.Log(p.xs[0]), math.Log(p.xs[len(p.xs)-1])
	place := func(x, y float64) (float64, float64) {
		return leftEdge + width*(math.Log(x)-first)/(last-first), topEdge + height*(1-y/top)
	}
	fmt.Fprintf(b, `<text x="%d" y="18" font-weight="bold" fill="#222">%s</text>`+"\n", leftEdge, p.title)
	for i := range 5 {
		y := top * float64(i) / 4
		_, at := place(p.xs[0], y)
		fmt.Fprintf(b, `<path d="M%d %.1fh%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%.4g</text>`+"\n", leftEdge, at, width, leftEdge-6, at+4, y)
	}
	var line strings.Builder
	for i, x := range p.xs {
		at, y := place(x, p.ys[i])
		fmt.Fprintf(&line, "%.1f,%.1f ", at, y)
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="#06c"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", at, y, at, panelHeight-bottomEdge+15, count(int(x)))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="#06c" stroke-width="1.5"/>`+"\n", strings.TrimSpace(line.String()))
	fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#222">%s</text>`+"\n", leftEdge+width/2, panelHeight-bottomEdge+31, p.x)
}

// nice is a round number that is not below any of ys, and above 0.
func nice(ys []float64) float64 {
	most := 0.0
	for _, y := range ys {
		most = max(most, y)
	}
	if most == 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most)))
	for _, step := range []float64{1, 2, 4, 8} {
		if most <= step*power {
			return step * power
		}
	}
	return 10 * power
}

// short writes three digits.
func short(f float64) string {
	if f >= 100 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

// count writes a number with k, M or G.
func count(n int) string {
	for _, unit := range []struct {
		size int
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.4g%s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprint(n)
}

func TestPlotHasAllOfItsNumbers(t *testing.T) {
	p := panel{title: "memory, MB", x: "jobs"}
	for _, n := range []int{1, 1000, 2_500_000} {
		p.add(n, float64(n)/1e5)
	}
	svg := plot([]panel{p, p, p})
	for _, want := range []string{`viewBox="0 0 840 380"`, ">1<", ">1k<", ">2.5M<", ">40<", "memory, MB", "jobs"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q in the plot:\n%s", want, svg)
		}
	}
	if got := strings.Count(svg, "<circle"); got != 9 {
		t.Errorf("%d points, want 9", got)
	}
	for most, want := range map[float64]float64{0: 1, 3: 4, 25: 40, 100: 100, 0.07: 0.08, 9: 10} {
		if got := nice([]float64{most / 2, most}); math.Abs(got-want) > 1e-9 {
			t.Errorf("up to %g the axis ends at %g, want %g", most, got, want)
		}
	}
}
