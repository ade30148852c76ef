package comfy

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// idleAfter is how long the socket is kept when no run uses it.
const idleAfter = time.Minute

var (
	errNotOpened = errors.New("open event socket")
	errIdle      = errors.New("no run uses the event socket")
	errRenew     = errors.New("the event socket has gone silent")
)

// A stream keeps the one event socket of a client open while runs follow it,
// and sorts what comes into their inboxes. One goroutine opens sockets, one
// after the other, and a second reads the one that is open.
type stream struct {
	cfg      Config
	clientID string
	log      *zap.Logger
	frames   atomic.Uint64 // that were read

	// again starts the attempts over after they were used up.
	again chan struct{}
	// renew closes the socket and opens another.
	renew chan struct{}

	mu     sync.Mutex
	closed bool
	cancel context.CancelFunc
	// done is closed when the goroutine has ended, leaving when one that retires
	// has closed its socket. Either may be nil.
	done, leaving chan struct{}
	// tried is closed when the attempt that new followers wait for is over.
	tried    chan struct{}
	polling  bool      // the attempts are used up
	lastLeft time.Time // when the last follower left
	// followers are the inboxes of runs, in the order of submission.
	followers []*inbox
	current   *inbox // of the prompt that ComfyUI executes, nil if not known
}

func newStream(cfg Config, clientID string, log *zap.Logger) *stream {
	return &stream{
		cfg: cfg, clientID: clientID, log: log,
		again: make(chan struct{}, 1),
		renew: make(chan struct{}, 1),
	}
}

// follow adds an inbox for the prompt called id. Tried is closed when the socket
// is open or cannot be opened at once.
func (s *stream) follow(id string, g graph) (in *inbox, tried <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	in = newInbox(id, g)
	s.followers = append(s.followers, in)
	switch {
	case s.done == nil:
		s.start()
	case s.polling:
		s.polling = false
		s.tried = make(chan struct{})
		signal(s.again)
	}
	return in, s.tried, nil
}

// start starts the goroutine. The lock is held.
func (s *stream) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done, before := make(chan struct{}), s.leaving
	s.cancel, s.done, s.leaving = cancel, done, nil
	s.tried, s.polling = make(chan struct{}), false
	go func() {
		defer close(done)
		defer cancel()
		if before != nil {
			<-before
		}
		defer s.contain(new(error)) // runs go on by asking
		s.run(ctx)
	}()
}

// contain, deferred, makes an error of a panic: what ComfyUI sends, and those who
// look at it, cost a socket at most.
func (s *stream) contain(err *error) {
	if p := recover(); p != nil {
		s.log.Error("panic at the event socket", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		*err = fmt.Errorf("panic: %v", p)
	}
}

// unfollow removes an inbox.
func (s *stream) unfollow(in *inbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers = slices.DeleteFunc(s.followers, func(other *inbox) bool { return other == in })
	if s.current == in {
		s.current = nil
	}
	s.lastLeft = time.Now()
}

// rename makes an inbox that of another prompt.
func (s *stream) rename(in *inbox, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.id = id
}

// retire ends the goroutine from within, if no run needs it any more.
func (s *stream) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.followers) > 0 || time.Since(s.lastLeft) < idleAfter || s.done == nil {
		return false
	}
	s.leaving, s.done = s.done, nil
	return true
}

// stop closes the socket and waits until it is closed.
func (s *stream) stop(forGood bool) {
	s.mu.Lock()
	s.closed = s.closed || forGood
	cancel, done, leaving := s.cancel, s.done, s.leaving
	s.done, s.leaving = nil, done
	if s.leaving == nil {
		s.leaving = leaving
	}
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	for _, ended := range []chan struct{}{leaving, done} {
		if ended != nil {
			<-ended
		}
	}
}

// run opens one socket after the other until ctx ends or nobody follows.
func (s *stream) run(ctx context.Context) {
	defer s.attempted()
	var last error
	for attempt := 0; ; attempt++ {
		delay, more := s.cfg.Reconnect.delay(attempt)
		if !more {
			if s.giveUp(last); !s.rest(ctx) {
				return
			}
			attempt, delay = 0, 0
		}
		if !pause(ctx, delay) {
			return
		}
		opened := time.Now()
		last = s.session(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(last, errIdle):
			return
		case errors.Is(last, errRenew):
			attempt = 0
			continue
		case time.Since(opened) >= s.cfg.Reconnect.Delay && !errors.Is(last, errNotOpened):
			attempt = 0 // it was a good one
		}
		s.tell(message{event: SocketLost{Err: last}})
		s.attempted()
	}
}

// session opens a socket and reads it to its end, whose reason it returns.
func (s *stream) session(ctx context.Context) (err error) {
	defer s.contain(&err)
	conn, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotOpened, err)
	}
	defer conn.Close() // also where a panic follows
	if err := s.greet(conn); err != nil {
		return fmt.Errorf("%w: %w", errNotOpened, err)
	}
	s.tell(message{event: SocketRegained{}})
	s.attempted()
	return s.serve(ctx, conn)
}

// giveUp tells the followers that they have to do without events.
func (s *stream) giveUp(last error) {
	s.mu.Lock()
	s.polling = true
	s.mu.Unlock()
	s.tell(message{event: PollingOnly{Err: fmt.Errorf("%d attempts to open the event socket: %w", s.cfg.Reconnect.Attempts, last)}})
}

// rest waits for a new follower. It returns false when there is nothing to wait
// for any more.
func (s *stream) rest(ctx context.Context) bool {
	for {
		select {
		case <-s.again:
			return true
		case <-ctx.Done():
			return false
		case <-time.After(idleAfter):
			if s.retire() {
				return false
			}
		}
	}
}

// attempted lets the followers that wait for the first attempt go on.
func (s *stream) attempted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.tried:
	default:
		close(s.tried)
	}
}

// signal puts a value into a channel of capacity 1 unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits for d and tells whether ctx was still alive then.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
