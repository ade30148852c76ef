package supervisor

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// An actor plays one incarnation.
type actor struct {
	start   error         // it cannot be started
	exits   time.Duration // after so long, 0 never
	exit    Exit          // as it does then
	deaf    bool          // to SIGTERM
	endless bool          // to SIGKILL too
	clears  time.Duration // after its end, until nothing is left of it
	left    error         // or this
}

func (a actor) play(ended func()) *Process {
	dead, gone := make(chan Exit, 1), make(chan error, 1)
	var once sync.Once
	die := func(e Exit) {
		once.Do(func() {
			e.At = time.Now()
			dead <- e
			time.AfterFunc(a.clears, func() { ended(); gone <- a.left })
		})
	}
	if a.exits > 0 {
		time.AfterFunc(a.exits, func() { die(a.exit) })
	}
	signal := func(sig unix.Signal) {
		if !a.endless && (sig == unix.SIGKILL || !a.deaf) {
			die(Exit{Signal: sig})
		}
	}
	return &Process{PID: 1 << 30, Signal: signal, Dead: dead, Gone: gone}
}

// A stage is a Supervisor in a bubble of virtual time, whose process is played.
type stage struct {
	*Supervisor
	t        *testing.T
	actors   []actor // one for each incarnation, the last for all that follow
	alive    atomic.Int32
	watching atomic.Int32
	watch    func(ctx context.Context) error
	seen     []Transition
	cancel   context.CancelFunc
	hurry    func()
	ended    chan error
}

func newStage(t *testing.T, watch func(context.Context) error, actors ...actor) *stage {
	hurry := make(chan struct{})
	st := &stage{t: t, actors: actors, watch: watch, ended: make(chan error, 1), hurry: sync.OnceFunc(func() { close(hurry) })}
	cfg := Config{Path: "x", Hurry: hurry, Observe: func(tr Transition) { st.seen = append(st.seen, tr) }}
	if watch != nil {
		cfg.Watch = st.watchAlone
	}
	st.Supervisor = New(cfg, nil, zap.NewNop())
	st.cfg.Launch = st.launchActor
	ctx, cancel := context.WithCancel(t.Context())
	st.cancel = cancel
	go func() { st.ended <- st.Run(ctx) }()
	synctest.Wait()
	return st
}

func (st *stage) launchActor(n int) (*Process, error) {
	if st.alive.Load() != 0 {
		st.t.Error("a process is started while the last one is still there")
	}
	if st.watching.Load() != 0 {
		st.t.Error("a process is started while the last one is still watched")
	}
	a := st.actors[min(n, len(st.actors))-1]
	if a.start != nil {
		return nil, a.start
	}
	st.alive.Add(1)
	return a.play(func() { st.alive.Add(-1) }), nil
}

func (st *stage) watchAlone(ctx context.Context) error {
	if st.watching.Add(1) != 1 {
		st.t.Error("two watches at once")
	}
	defer st.watching.Add(-1)
	return st.watch(ctx)
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (st *stage) states() string {
	text := string(StateStopped)
	for _, tr := range st.seen {
		text += " " + string(tr.To)
	}
	return text
}

var (
	errNoFork = fmt.Errorf("start x: %w", unix.EAGAIN)
	errNever  = fmt.Errorf("%w x: %w", ErrNotExecutable, unix.ENOENT)
	errLeft   = fmt.Errorf("process 7 %w", ErrUnkillable)
	crash     = actor{exits: time.Second, exit: Exit{Code: 1}}
)

// A scene is what happens to a process, and what is to come of it.
type scene struct {
	name   string
	actors []actor
	play   func(*stage)
	want   string // the states
	err    error  // of Run
	watch  func(context.Context) error
}

// scenes lead through the rows of the table in the package comment.
var scenes = []scene{
	{name: "shutdown", actors: []actor{{}},
		play: func(st *stage) { st.cancel() },
		want: "stopped running terminating stopped", err: context.Canceled},
	{name: "shutdown of a deaf process", actors: []actor{{deaf: true}},
		play: func(st *stage) { st.cancel() },
		want: "stopped running terminating killing stopped", err: context.Canceled},
	{name: "shutdown of an unkillable process", actors: []actor{{endless: true}},
		play: func(st *stage) { st.cancel() },
		want: "stopped running terminating killing failed", err: ErrUnkillable},
	{name: "shutdown in backoff", actors: []actor{crash},
		play: func(st *stage) { pass(2250 * time.Millisecond); st.cancel() },
		want: "stopped running backoff running backoff stopped", err: context.Canceled},
	{name: "shutdown of a process that leaves something", actors: []actor{{left: errLeft}},
		play: func(st *stage) { st.cancel() },
		want: "stopped running terminating failed", err: ErrUnkillable},
	{name: "shutdown while an exit is cleared away", actors: []actor{{exits: time.Second, clears: time.Second, deaf: true}},
		play: func(st *stage) { pass(1500 * time.Millisecond); st.cancel() },
		want: "stopped running terminating stopped", err: context.Canceled},
	{name: "hurry", actors: []actor{{deaf: true}},
		play: func(st *stage) { st.hurry() },
		want: "stopped running killing stopped", err: context.Canceled},
	{name: "hurry during the grace", actors: []actor{{deaf: true}},
		play: func(st *stage) { st.cancel(); pass(time.Second); st.hurry() },
		want: "stopped running terminating killing stopped", err: context.Canceled},
	{name: "hurry in backoff", actors: []actor{crash},
		play: func(st *stage) { pass(2250 * time.Millisecond); st.hurry() },
		want: "stopped running backoff running backoff stopped", err: context.Canceled},
	{name: "crash", actors: []actor{crash, {}},
		play: func(st *stage) { pass(time.Minute); st.cancel() },
		want: "stopped running backoff running terminating stopped", err: context.Canceled},
	{name: "crash at every boot", actors: []actor{crash},
		play: func(*stage) {},
		want: "stopped running backoff running backoff running backoff running backoff running failed", err: ErrCrashLoop},
	{name: "crash that leaves something", actors: []actor{{exits: time.Second, left: errLeft}},
		play: func(*stage) {},
		want: "stopped running failed", err: ErrUnkillable},
	{name: "exit while shutting down", actors: []actor{{exits: time.Second, exit: Exit{Code: 1}, deaf: true}},
		play: func(st *stage) { st.cancel() },
		want: "stopped running terminating stopped", err: context.Canceled},
	{name: "restart", actors: []actor{{}},
		play: func(st *stage) { st.Restart("asked"); pass(time.Second); st.cancel() },
		want: "stopped running terminating backoff running terminating stopped", err: context.Canceled},
	{name: "restart of a deaf process", actors: []actor{{deaf: true}, {}},
		play: func(st *stage) { st.Restart("asked"); pass(time.Minute); st.cancel() },
		want: "stopped running terminating killing backoff running terminating stopped", err: context.Canceled},
	{name: "restart in backoff", actors: []actor{crash, crash, {}},
		play: func(st *stage) { pass(2250 * time.Millisecond); st.Restart("asked"); pass(0); st.cancel() },
		want: "stopped running backoff running backoff running terminating stopped", err: context.Canceled},
	{name: "restart of what leaves something", actors: []actor{{deaf: true, left: errLeft}},
		play: func(st *stage) { st.Restart("asked") },
		want: "stopped running terminating killing failed", err: ErrUnkillable},
	{name: "never executable", actors: []actor{{start: errNever}},
		play: func(*stage) {},
		want: "stopped failed", err: ErrNotExecutable},
	{name: "executable no more", actors: []actor{crash, {start: errNever}},
		play: func(*stage) {},
		want: "stopped running backoff failed", err: ErrNotExecutable},
	{name: "no room to fork", actors: []actor{{start: errNoFork}, {start: errNoFork}, {}},
		play: func(st *stage) { pass(time.Minute); st.cancel() },
		want: "stopped backoff backoff running terminating stopped", err: context.Canceled},
}
