package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

var (
	simSeed = flag.Uint64("sim.seed", 0, "play this seed and no other")
	simN    = flag.Int("sim.n", 200, "how many seeds TestSimulation plays")
	simAll  = flag.Bool("sim.all", false, "go on after a failure")
	simFrom = flag.Uint64("sim.from", 1, "the first of them; 0 takes the clock")
)

var logLevel = zapcore.WarnLevel

func TestMain(m *testing.M) {
	debug.SetGCPercent(-1) // a run is short and leaves little
	debug.SetMemoryLimit(512 << 20)
	os.Exit(m.Run())
}

func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		logLevel = zapcore.DebugLevel
		r := play(t, newPlan(*simSeed), weakness{})
		fmt.Println(r.report())
		if len(r.violations) > 0 {
			t.Fail()
		}
		return
	}
	from := *simFrom
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	begun := time.Now()
	jobs := 0
	for i := range *simN {
		p := newPlan(from + uint64(i))
		jobs += len(p.jobs)
		began := time.Now()
		r := play(t, p, weakness{})
		if d := time.Since(began); d > 100*time.Millisecond {
			fmt.Println("slow", p.seed, d)
		}
		if len(r.violations) > 0 {
			if *simAll {
				fmt.Println("FAIL", p.seed, len(p.jobs), len(p.faults), r.violations[0].text)
				continue
			}
			t.Fatalf("%s", r.report())
		}
	}
	d := time.Since(begun)
	fmt.Printf("%d runs, %d jobs in %v: %.0f runs/s\n", *simN, jobs, d, float64(*simN)/d.Seconds())
}

func (r *run) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %+v, %d jobs, %d faults over %v\n", r.plan.seed, r.plan.setup, len(r.plan.jobs), len(r.plan.faults), r.plan.span)
	for _, j := range r.plan.jobs {
		fmt.Fprintf(&b, "  %s: %s at %v, limit %v, stop after %v\n", j.id, j.kind, j.at, j.limit, j.stopAfter)
	}
	for i := range r.plan.faults {
		fmt.Fprintf(&b, "  %v\n", &r.plan.faults[i])
	}
	for _, v := range r.violations {
		fmt.Fprintf(&b, "VIOLATION: %s\n", v.text)
	}
	if len(r.violations) > 0 {
		b.WriteString(r.story(r.violations[0].job))
	}
	return b.String()
}
