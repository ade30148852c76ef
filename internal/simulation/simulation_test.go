package simulation

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
)

var (
	simSeed   = flag.Uint64("sim.seed", 0, "play this seed and no other")
	simJobs   = flag.String("sim.jobs", "", "with these of its jobs alone")
	simFaults = flag.String("sim.faults", "", "with these of its faults alone")
	simTries  = flag.Int("sim.tries", 50, "so often, or until it fails")
	simN      = flag.Int("sim.n", seedsByDefault, "how many seeds TestSimulation plays")
	simFrom   = flag.Uint64("sim.from", 1, "the first of them; 0 takes the clock")
	simWhole  = flag.Bool("sim.whole", false, "tell all events of a failure, not those of one job")
	simAll    = flag.Bool("sim.all", false, "go on after a failure, and count")
)

var logLevel = zapcore.WarnLevel

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // a run is short and leaves little
	os.Exit(m.Run())
}

// Whatever goes wrong, every job has one lawful end and one result that is its
// own, nothing is run twice or after its time, and all of it comes to rest.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		replay(t)
		return
	}
	s := &series{t: t, from: *simFrom, begun: time.Now(), acted: make(map[string]int)}
	if s.from == 0 {
		s.from = uint64(time.Now().UnixNano())
	}
	for _, seed := range formerSeeds {
		s.play(seed)
	}
	var players sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		players.Go(func() {
			for i := s.next.Add(1) - 1; i < int64(*simN) && !t.Failed(); i = s.next.Add(1) - 1 {
				s.play(s.from + uint64(i))
			}
		})
	}
	players.Wait()
	s.report()
}

// formerSeeds once failed. What they showed is told where it was mended.
var formerSeeds = []uint64{483, 3013168, 3017762, 6004748, 6004896, 7040015, 8010951}

// replay plays one seed, or what is left of it, until it fails.
func replay(t *testing.T) {
	logLevel = zapcore.DebugLevel
	p := newPlan(*simSeed)
	jobs, err := read(*simJobs, len(p.jobs))
	if err != nil {
		t.Fatalf("-sim.jobs: %v", err)
	}
	faults, err := read(*simFaults, len(p.faults))
	if err != nil {
		t.Fatalf("-sim.faults: %v", err)
	}
	if r := fails(t, p.only(jobs, faults), weakness{}, *simTries); r != nil {
		t.Fatal(r.report())
	}
	t.Logf("seed %d did not fail in %d tries", *simSeed, *simTries)
}

// A series is many seeds.
type series struct {
	t     *testing.T
	from  uint64
	begun time.Time
	next  atomic.Int64

	mu     sync.Mutex
	acted  map[string]int // how often each kind of fault took effect
	runs   int
	jobs   int
	failed int
}

// progressEvery is how many runs a long series goes on without a word.
const progressEvery = 10_000

// play plays one seed. A failure is made smaller, if it fails again.
func (s *series) play(seed uint64) {
	p := newPlan(seed)
	r := play(s.t, p, weakness{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	s.jobs += len(p.jobs)
	for _, f := range r.fired {
		s.acted[f.fault.name] += f.count()
	}
	if s.runs%progressEvery == 0 {
		fmt.Printf("%d runs, %.0f in a second\n", s.runs, s.rate())
	}
	switch {
	case len(r.violations) == 0 || s.t.Failed() && !*simAll:
	case *simAll:
		s.failed++
		fmt.Printf("seed %d, %d jobs, %d faults: %s\n", seed, len(p.jobs), len(p.faults), r.violations[0].text)
	default:
		_, r = shrink(s.t, p, weakness{}, r)
		s.t.Error(r.report())
	}
}

func (s *series) rate() float64 { return float64(s.runs) / time.Since(s.begun).Seconds() }

// enough is the number of runs in which every kind of fault must have taken effect.
// The rarest does so about twice in 20,000.
const enough = 200_000

// report tells what was played. A kind of fault that never took effect proves
// nothing.
func (s *series) report() {
	s.t.Logf("%d runs from seed %d, %d jobs, in %v: %.0f runs a second", s.runs, s.from, s.jobs, time.Since(s.begun).Round(time.Second), s.rate())
	if s.failed > 0 {
		s.t.Errorf("%d runs failed", s.failed)
	}
	for _, k := range faultKinds() {
		if s.acted[k.name] == 0 && s.runs >= enough {
			s.t.Errorf("fault %q never took effect", k.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.acted)) {
		s.t.Logf("%8d  %s", s.acted[name], name)
	}
}

// report tells of a run: how to play it again, what it was, what is wrong, and the
// last events of the job that it is wrong about.
func (r *run) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d fails. Play it again by\n\tgo test ./internal/simulation -run '^TestSimulation$' -sim.seed=%d %s\n", r.plan.seed, r.plan.seed, r.plan.kept)
	fmt.Fprintf(&b, "%+v, over %v\n", r.plan.setup, r.plan.span)
	for _, j := range r.plan.jobs {
		fmt.Fprintf(&b, "  %s: %s at %v, limit %v, given up after %v\n", j.id, j.kind, j.at, j.limit, j.stopAfter)
	}
	for i := range r.plan.faults {
		fmt.Fprintf(&b, "  %v\n", &r.plan.faults[i])
	}
	for _, v := range r.violations {
		fmt.Fprintf(&b, "WRONG: %s\n", v.text)
	}
	if len(r.violations) > 0 {
		about := r.violations[0].job
		if *simWhole {
			about = ""
		}
		b.WriteString(r.story(about))
	}
	return b.String()
}
