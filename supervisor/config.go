package supervisor

import (
	"context"
	"time"
)

// Config says what to run and how. Fields left at zero get the defaults of
// the constants and of [DefaultPolicy].
type Config struct {
	// Name tells this process from others that the same program keeps, in logs
	// and in the environment of the process. Default "comfyui".
	Name string

	// Path is the executable: a path, or a name to be looked up in PATH.
	Path string
	Args []string
	// Env is the whole environment of the process; nothing is inherited.
	Env []string
	Dir string

	// Port is the local port that the process listens on, 0 if there is none. It
	// is not started while something else holds it.
	Port int

	// Grace is the time from SIGTERM to SIGKILL.
	Grace time.Duration
	// KillTimeout is how long a process may outlive SIGKILL before Run gives
	// it up with ErrUnkillable.
	KillTimeout time.Duration
	// WaitDelay is how long output is still read after the process has ended,
	// when something else holds its pipe open.
	WaitDelay time.Duration
	// Policy decides on the time between an exit and the next start.
	Policy Policy

	// Lines is given every relayed line, in order and one at a time. It may
	// block: lines are then dropped, and the process goes on.
	Lines func(Line)
	// Scrub is applied to the lines that an Exit keeps, for instance to hide
	// secrets. Nil keeps them as they are.
	Scrub func(line string) string
	// LineRate is how many lines of up to 256 bytes are relayed in a second;
	// longer ones count for several. Those beyond it are dropped and counted.
	LineRate int

	// Watch runs beside each incarnation. Its context ends when that very
	// process has exited, with the Exit as its cause, and Watch has to return
	// then. An error from it means that the process is alive but no good: it is
	// stopped and started again. Nil ends the watching and nothing else.
	Watch func(ctx context.Context) error
	// Observe is told each change of state, in order, from Run's goroutine.
	Observe func(Transition)
	// Hurry is closed when the stop must be immediate: SIGKILL and no grace.
	// It stops Run even if the context has not ended.
	Hurry <-chan struct{}

	// Launch starts incarnation n. Nil starts Path as a process; a simulation
	// puts something else in its place.
	Launch func(n int) (*Process, error)

	// RebootFile is a file that the process leaves behind before it exits with
	// code 0 in order to be started again. It is removed before each start.
	RebootFile string
	// OOMScoreAdj is added to the process's own, so that the kernel's
	// out-of-memory killer takes it rather than the supervisor.
	OOMScoreAdj int
	// NoFile is the soft limit of open files. Default: the hard limit, at most
	// 1,048,576.
	NoFile uint64
	// Root is the directory that holds proc and sys, for the counters of the
	// memory cgroup. Default "/".
	Root string
}

// Defaults of the fields of Config.
const (
	DefaultName        = "comfyui"
	DefaultGrace       = 3 * time.Second
	DefaultKillTimeout = 10 * time.Second
	DefaultWaitDelay   = 200 * time.Millisecond
	DefaultLineRate    = 5000
)

func (c Config) withDefaults() Config {
	orDefault(&c.Name, DefaultName)
	orDefault(&c.Grace, DefaultGrace)
	orDefault(&c.KillTimeout, DefaultKillTimeout)
	orDefault(&c.WaitDelay, DefaultWaitDelay)
	orDefault(&c.LineRate, DefaultLineRate)
	orDefault(&c.Policy, DefaultPolicy())
	orDefault(&c.Root, "/")
	if c.Lines == nil {
		c.Lines = func(Line) {}
	}
	if c.Scrub == nil {
		c.Scrub = func(line string) string { return line }
	}
	if c.Observe == nil {
		c.Observe = func(Transition) {}
	}
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
