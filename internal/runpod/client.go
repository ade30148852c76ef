package runpod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// A Client is a worker at one queue. Its methods may be called from any
// goroutine.
type Client struct {
	cfg  Config
	log  *zap.Logger
	http *http.Client

	take, done, ping location
	stream           location // without a path if there is none
	batch, stop      location
	hasBatch         bool // the take URL has a place for the batch call
	hasStop          bool

	jobs *registry
	// greeted is closed when the first heartbeat was answered or given up, for
	// which the first take waits.
	greeted chan struct{}
	greet   func() // closes it
	first   sync.Once
	// owed are the answers that the client itself gives to jobs.
	owed chan answer

	takes, results, beats, stops *trouble
}

// owedLimit is how many jobs may wait for the client's own answer. One more is
// not answered, and left to the queue to hand out again.
const owedLimit = 1024

// New checks cfg and returns a client, which does nothing until it is asked.
// The error names every variable that is wrong, and no value.
func New(cfg Config, log *zap.Logger) (*Client, error) {
	cfg = cfg.withDefaults()
	c := &Client{
		cfg:     cfg,
		log:     log,
		http:    &http.Client{Transport: transport(cfg.Dial), CheckRedirect: sameMethod},
		jobs:    newRegistry(cfg),
		greeted: make(chan struct{}),
		owed:    make(chan answer, owedLimit),
		takes:   newTrouble(log, "take"),
		results: newTrouble(log, "result"),
		beats:   newTrouble(log, "heartbeat"),
		stops:   newTrouble(log, "stop channel"),
	}
	c.greet = sync.OnceFunc(func() { close(c.greeted) })
	var errTake, errDone, errStream, errPing error
	c.take, errTake = locate(cfg.TakeURL, cfg.WorkerID)
	c.take = c.take.fill(idPlace, cfg.WorkerID)
	c.done, errDone = locate(cfg.DoneURL, cfg.WorkerID)
	if cfg.StreamURL.URL != "" {
		c.stream, errStream = locate(cfg.StreamURL, cfg.WorkerID)
	}
	if cfg.PingURL.URL != "" {
		c.ping, errPing = locate(cfg.PingURL, cfg.WorkerID)
		c.ping = c.ping.fill(idPlace, cfg.WorkerID)
	}
	if err := errors.Join(errTake, errDone, errStream, errPing); err != nil {
		return nil, err
	}
	c.batch, c.hasBatch = c.take.instead("job-take", "job-take-batch")
	c.stop, c.hasStop = c.take.instead("job-take", "job-stop")
	return c, nil
}

// Run sends the heartbeat, listens for jobs to stop, posts progress and answers
// the jobs that the worker never sees. It is called once and returns when ctx
// has ended and the answers still owed are given, or LastRead later, or with the
// first error of Config.Contain.
func (c *Client) Run(ctx context.Context) error {
	defer c.http.CloseIdleConnections()
	parts, inside := errgroup.WithContext(ctx)
	for name, part := range map[string]func(context.Context){
		"heartbeat": c.beat, "stop channel": c.listen, "progress": c.report, "answers": c.settle,
	} {
		run := c.cfg.Contain(name, func(ctx context.Context) error { part(ctx); return nil })
		parts.Go(func() error { return run(inside) })
	}
	if err := parts.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return ctx.Err()
}

// Err returns nil while the queue answers, and else why it does not: after five
// takes in a row went wrong.
func (c *Client) Err() error { return c.takes.lasting(5) }

// transport is a transport of our own, because a worker's long polls, its
// result and its heartbeat must not share limits with anybody.
func transport(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // a small answer cannot become a large one
		MaxIdleConnsPerHost: 8,
		// Not the period of any call: a request that begins as its connection is
		// closed fails.
		IdleConnTimeout:     77 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		// Over HTTP/2 one dead connection would silence all calls at once.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// sameMethod follows redirects, except those that would turn the post of a
// result into a GET.
func sameMethod(next *http.Request, via []*http.Request) error {
	if next.Method != via[0].Method {
		return http.ErrUseLastResponse
	}
	if len(via) >= 5 {
		return fmt.Errorf("stopped after %d redirects", len(via))
	}
	return nil
}
