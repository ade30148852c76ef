package runpod

import (
	"cmp"
	"context"
	"net"
	"time"
)

// A Template is a URL of the worker protocol as the environment has it, with
// $RUNPOD_POD_ID and $ID in the places of the worker's and the job's id.
type Template struct {
	// Name is the variable that holds it. Errors tell it instead of the URL.
	Name string
	URL  string
}

// Config says where the queue is and how patient to be with it. Only TakeURL,
// DoneURL and WorkerID must be set; the zero value of anything else means the
// default named beside it.
type Config struct {
	TakeURL Template // $ID is the worker's id
	DoneURL Template // $ID is the job's id
	// StreamURL is where previews go; $ID is the job's id. Without it there are none.
	StreamURL Template
	PingURL   Template // without it, or without an APIKey, no heartbeat is sent

	// APIKey is the value of the Authorization header as it is, without a scheme.
	APIKey   string
	WorkerID string
	// Version is told to the queue with each heartbeat.
	Version string
	// Dial replaces the network, nil means net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Contain keeps a panic in a part of Run from ending the program: what it
	// returns runs the part, again after a panic, or returns an error that ends Run.
	// Nil leaves parts as they are.
	Contain func(part string, run func(context.Context) error) func(context.Context) error
	// Hurry is closed when the stop must be immediate: then there is time for results
	// alone. It may be nil.
	Hurry <-chan struct{}

	PingInterval time.Duration // 10 s
	Greeting     time.Duration // 2 s: how long the first take waits for the first heartbeat

	PollTimeout time.Duration // 2 min: above the 90 s for which the queue holds a poll
	LastRead    time.Duration // 2 s: how long an open poll is read on when the worker stops
	HeldPoll    time.Duration // 500 ms: a poll that took longer was held and is repeated at once
	IdleFirst   time.Duration // 50 ms: pause after an empty answer that was not held...
	IdleMax     time.Duration // 1 s: ...doubling up to this one
	AnswerLimit int64         // 64 MiB: largest answer to a take

	BackoffFirst time.Duration // 250 ms: bound of the pause after the first failure...
	BackoffMax   time.Duration // 15 s: ...doubling up to this one
	Throttled    time.Duration // 5 s: pause after 429 without Retry-After
	RetryAfter   time.Duration // 60 s: longest Retry-After that is honoured, up to a third longer
	Unauthorized time.Duration // 30 s: pause between takes while the key is refused

	StopFloor       time.Duration // 1 s: between two polls of the stop channel
	StopUnsupported time.Duration // 60 s: the same while the server has none

	ResultDeadline time.Duration // 10 min: how long a result is posted again...
	AuthDeadline   time.Duration // 2 min: ...while the key is refused
	PostTimeout    time.Duration // 60 s: for one post, plus the time that its size needs

	Retried func() // called for each result that is posted again

	ProgressInterval time.Duration // 2 s: between two posts of progress for one job, and between two previews
	ProgressTimeout  time.Duration // 2 s: for one of them, and so what one may delay a result

	// What is remembered of jobs that ended, for when they are handed out again.
	SpoolDir   string        // where results are kept; "" is the system's for temporary files
	KeepJobs   int           // 10,000
	KeepFor    time.Duration // 1 h
	KeepResult int64         // 8 MiB: a larger result is not kept; its job runs again
	KeepTotal  int64         // 64 MiB
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, value time.Duration) { *d = cmp.Or(*d, value) }
	if c.Contain == nil {
		c.Contain = func(_ string, run func(context.Context) error) func(context.Context) error { return run }
	}
	def(&c.PingInterval, 10*time.Second)
	def(&c.Greeting, 2*time.Second)
	def(&c.PollTimeout, 2*time.Minute)
	def(&c.LastRead, 2*time.Second)
	def(&c.HeldPoll, 500*time.Millisecond)
	def(&c.IdleFirst, 50*time.Millisecond)
	def(&c.IdleMax, time.Second)
	def(&c.BackoffFirst, 250*time.Millisecond)
	def(&c.BackoffMax, 15*time.Second)
	def(&c.Throttled, 5*time.Second)
	def(&c.RetryAfter, time.Minute)
	def(&c.Unauthorized, 30*time.Second)
	def(&c.StopFloor, time.Second)
	def(&c.StopUnsupported, time.Minute)
	def(&c.ResultDeadline, 10*time.Minute)
	def(&c.AuthDeadline, 2*time.Minute)
	def(&c.PostTimeout, time.Minute)
	def(&c.ProgressInterval, 2*time.Second)
	def(&c.ProgressTimeout, 2*time.Second)
	def(&c.KeepFor, time.Hour)
	if c.Retried == nil {
		c.Retried = func() {}
	}
	c.AnswerLimit = cmp.Or(c.AnswerLimit, 64<<20)
	c.KeepJobs = cmp.Or(c.KeepJobs, 10_000)
	c.KeepResult = cmp.Or(c.KeepResult, 8<<20)
	c.KeepTotal = cmp.Or(c.KeepTotal, 64<<20)
	return c
}
