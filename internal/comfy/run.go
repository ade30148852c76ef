package comfy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// A Prompt is a workflow to execute.
type Prompt struct {
	// ID is chosen by the caller, and never used twice: see PromptID.
	ID       string
	Workflow json.RawMessage
	// ExtraData is handed on as extra_data. It may hold API keys.
	ExtraData map[string]any
	// Again is called before the prompt is submitted once more because ComfyUI does
	// not know it: it may have run all the same. Nil is no call.
	Again func()
}

const (
	// dialPatience is how long a submission waits for the event socket.
	dialPatience = 2 * time.Second
	// askPatience bounds a question while a prompt is followed. It is doubled
	// each time that it was not enough.
	askPatience = 2 * time.Second
	// faultFor is how long ComfyUI may answer nothing but that it has a fault of
	// its own. It does so for good when the prompt left something in its history
	// that cannot be sent.
	faultFor = time.Minute
)

// Run executes a prompt and returns when it has ended. It calls tell, which may
// be nil, for each event, from the goroutine that called Run.
//
// If the workflow was refused the error is a *RejectedError, if a node raised a
// *NodeFailure, and ErrInterrupted, ErrLost and ErrHistoryMissing mean what they
// say. Other errors are those of the submission, or of a ComfyUI that answers
// every question with 500. The outcome is not nil if
// ComfyUI's history has the prompt, even if the prompt failed.
//
// When ctx ends Run returns its cause at once and leaves the prompt to go on:
// see Cancel.
func (c *Client) Run(ctx context.Context, p Prompt, tell func(Event)) (*Outcome, error) {
	if parsed, err := uuid.Parse(p.ID); err != nil || parsed.String() != p.ID {
		return nil, fmt.Errorf("prompt id %q is not a UUID in lower case with hyphens", p.ID)
	}
	if tell == nil {
		tell = func(Event) {}
	}
	g := newGraph(p.Workflow)
	in, tried, err := c.stream.follow(p.ID, g)
	if err != nil {
		return nil, err
	}
	defer c.stream.unfollow(in)
	r := &run{client: c, id: p.ID, graph: g, inbox: in, tell: tell, queued: -1, patience: askPatience}
	outcome, err := r.execute(ctx, p, tried)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return outcome, err
}

// A run follows one prompt, in the goroutine that called Run.
type run struct {
	client *Client
	id     string // as ComfyUI knows it
	graph  graph
	inbox  *inbox
	tell   func(Event)

	submitted time.Time
	pace      pace
	patience  time.Duration
	faulty    time.Time // since when ComfyUI has only told of its own faults, zero if it has not
	started   bool
	queued    int  // told last
	lost      bool // the socket is, and was told to be

	node     string // at work, since
	since    time.Time
	times    map[string]time.Duration
	failure  *NodeFailure // as events told
	warnings []string
}

func (r *run) execute(ctx context.Context, p Prompt, tried <-chan struct{}) (*Outcome, error) {
	patience := time.NewTimer(dialPatience)
	defer patience.Stop()
	select {
	case <-tried:
	case <-patience.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.submitted = time.Now()
	if err := r.submit(ctx, p); err != nil {
		return nil, err
	}
	r.pace = pace{silence: r.client.cfg.PollSilent, heard: time.Now()}
	r.tell(Queued{Ahead: -1})
	entry, err := r.follow(ctx)
	if err != nil {
		return nil, err
	}
	r.awaitFrames(ctx)
	return r.finish(entry)
}

// follow reads events and asks ComfyUI until its history has the prompt.
func (r *run) follow(ctx context.Context) (*historyEntry, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(r.pace.due()))
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-r.inbox.ready:
			r.handleAll()
		case <-timer.C:
			entry, err := r.ask(ctx)
			if entry != nil || err != nil {
				return entry, err
			}
		}
	}
}

// ask returns the entry of the prompt, nil if it has not ended, or an error if
// it never will. What only keeps it from asking is no error.
func (r *run) ask(ctx context.Context) (*historyEntry, error) {
	asking, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	at, err := r.look(asking)
	now := time.Now()
	r.pace.ask(now)
	if err != nil {
		r.client.log.Debug("asking for a prompt", zap.String("prompt", r.id), zap.Error(err))
		if isTimeout(err) {
			// The connections may be dead ones that nothing comes through any more.
			r.client.transport.CloseIdleConnections()
			r.patience = min(2*r.patience, answerTimeout)
		}
		return nil, r.noteFault(err, now)
	}
	r.patience, r.faulty = askPatience, time.Time{}
	switch at.place {
	case ended:
		return at.entry, nil
	case unknown:
		return nil, fmt.Errorf("%w (id %s)", ErrLost, r.id)
	case pending:
		r.tellQueued(at.ahead)
	case running:
		r.start()
	}
	if r.pace.overdue(now) {
		return nil, fmt.Errorf("%w (id %s)", ErrHistoryMissing, r.id)
	}
	return nil, nil
}

// noteFault returns err if ComfyUI has told of nothing but its own faults for too
// long.
func (r *run) noteFault(err error, now time.Time) error {
	var answer *HTTPError
	switch {
	case !errors.As(err, &answer) || answer.Status < http.StatusInternalServerError:
		r.faulty = time.Time{}
	case r.faulty.IsZero():
		r.faulty = now
	case now.Sub(r.faulty) >= faultFor:
		return err
	}
	return nil
}

// look finds the prompt. When events hinted at its end only the history counts.
func (r *run) look(ctx context.Context) (whereabouts, error) {
	if r.pace.mark == noMark {
		return r.client.find(ctx, r.id)
	}
	entry, err := r.client.history(ctx, r.id)
	if err != nil || entry == nil {
		return whereabouts{place: running}, err
	}
	return whereabouts{place: ended, entry: entry}, nil
}

// awaitFrames waits for images that were sent before the end of the prompt but
// may still be on their way, when the history was quicker.
func (r *run) awaitFrames(ctx context.Context) {
	timeout := time.NewTimer(time.Second)
	defer timeout.Stop()
	for r.graph.anySendsFrames() && !r.lost && r.pace.mark < doneMark {
		select {
		case <-r.inbox.ready:
			r.handleAll()
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// finish makes the outcome of what the history and the events told.
func (r *run) finish(entry *historyEntry) (*Outcome, error) {
	r.handleAll()
	r.start() // the events that told of it may have come after those of the end, or never
	r.work("", time.Now())
	if !r.lost && r.pace.deaf(time.Now()) {
		signal(r.client.stream.renew)
	}
	o := entry.outcome()
	o.NodeTimes = r.times
	frames, lost := r.inbox.takeFrames()
	o.Frames = frames
	if lost > 0 {
		r.warn("%d images of %d sent over the event socket were dropped: together they exceed %d MiB", lost, lost+len(frames), framesSize>>20)
	}
	if entry.nulled && len(o.Values) > 0 {
		r.warn("nodes reported NaN or infinite numbers among their values: JSON has none, so they are null")
	}
	err := entry.Status.verdict(r.failure)
	if err == nil {
		r.missFrames(frames)
	}
	o.Warnings = r.warnings
	return o, err
}
