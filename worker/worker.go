package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/convert"
	"github.com/comfyvisor/comfyvisor/internal/fetch"
)

// What Run returns besides its context's error.
var (
	// ErrRefresh means that the pod has done its one job and wants to be replaced.
	ErrRefresh = errors.New("worker asked to be replaced")
	// ErrAbandoned means that at least one job was failed because of the shutdown.
	ErrAbandoned = errors.New("a job was abandoned at shutdown")
)

// Refresh says what REFRESH_WORKER does after a job.
type Refresh int

const (
	RefreshNone    Refresh = iota
	RefreshPod             // tell the platform to stop the pod, and return ErrRefresh
	RefreshProcess         // restart ComfyUI before the next job
)

// A Slot is one ComfyUI that runs one job at a time.
type Slot struct {
	Gate  *health.Gate
	Comfy *comfy.Client
	// Restart replaces the process although nothing is wrong with it. The gate
	// is closed when it returns.
	Restart func(reason string)
	// Condemn gives the process up: the gate closes with reason, soon.
	Condemn func(reason error)
	// GiveUp gives up more than the process: its host, or this GPU of it, cannot
	// do the work. The gate closes for good, soon.
	GiveUp func(reason error)
	// Poke asks for a look at the process's health at once.
	Poke func()
	// Worked tells that a job came through, so that the process has proved itself.
	Worked func()
	// Activity changes whenever the process shows a sign of life.
	Activity func() uint64
	// Memory is the share of its memory limit that the process uses, with all
	// that counts to the same limit; 0 where there is none.
	Memory func() float64
	// OutputDir and InputDir are ComfyUI's own directories. Where one cannot
	// be read here, files are fetched over HTTP and stay where they are.
	OutputDir, InputDir string

	events  atomic.Uint64 // that its prompts have shown
	gpu     gpu
	volume  volume
	catalog atomic.Pointer[catalog] // nil while the gate is closed
	// room is for lanesMax attempts, or for one that wants ComfyUI for itself.
	room *semaphore.Weighted
	// users is held by each job until it is delivered, and all of it by whoever
	// restarts a worn process.
	users   *semaphore.Weighted
	wear    wear
	fitness fitness
}

// Config says where jobs come from, where they run and how long. Durations that
// are 0 take the defaults named here.
type Config struct {
	Source Source
	// Store keeps output files; nil lets them travel inside the result.
	Store Store
	// Format is what pictures are made into unless the job says otherwise.
	Format convert.Format
	// SpoolDir is where outputs are kept that were made here, or that ComfyUI or the
	// next job may take away before they are delivered; "" is the system's directory
	// for temporary files.
	SpoolDir string
	// Fetch downloads the files that jobs name by URL; nil refuses URLs.
	Fetch *fetch.Client
	// Bucket opens the bucket that a job brought, to be closed when the job has
	// ended. Its error is for whoever sent the job: it names the field at fault and
	// has no key in it. Nil refuses jobs with a bucket.
	Bucket func(Bucket) (store Store, closed func(), err error)
	Slots  []*Slot
	// Prefetch prepares the next job, and queues its prompt, while one runs.
	Prefetch bool
	Refresh  Refresh
	// OrgAPIKey goes with each prompt to ComfyUI's API nodes unless the job
	// brings its own.
	OrgAPIKey string
	// ResultLimit is the largest result body in bytes that the source takes;
	// 0 means no limit.
	ResultLimit int64
	// MinFree is how many bytes have to be free where a slot's ComfyUI keeps its
	// files, for a job to be run; 0 asks for none.
	MinFree int64
	// Unchecked leaves it to ComfyUI alone to judge workflows.
	Unchecked bool
	// Previews is the least time between two previews of a job that the source is
	// told of; 0 shows it none.
	Previews time.Duration
	// Watched tells whether somebody looks at what Observe is told, who is then
	// shown previews. It is called for each of them; nil means that nobody does.
	Watched func() bool
	// JobTimeout ends a job whose source told no limit; 0 means none.
	JobTimeout time.Duration
	// Stall ends an execution without any sign of life; 5 min.
	Stall time.Duration
	// QueueStall ends an execution whose prompt waits in ComfyUI's queue although
	// none runs; 10 s.
	QueueStall time.Duration
	// Wear says when a process is replaced although it works.
	Wear Wear
	// Fitness says when a slot that fails its jobs gets no more of them.
	Fitness Fitness
	// Drain is how long jobs may go on when the worker is told to stop; 6 s.
	Drain time.Duration
	// Deliver is how long deliveries may go on after that; 1.5 s.
	Deliver time.Duration
	// Hurry, when closed, cuts the drain short.
	Hurry <-chan struct{}
	// Guard keeps a secret that came with a job out of logs and results until
	// the returned function is called. Nil guards nothing.
	Guard func(secret string) (forget func())
	// Scrub takes known secrets out of a text. What a failure tells goes through it:
	// a node may have put a key that it was given into its error. Nil leaves all.
	Scrub func(text string) string
	// Observe is told of every phase of every job. It must not block.
	Observe func(Event)
}

// A Worker does jobs. It is made by New and used by one Run.
type Worker struct {
	cfg    Config
	log    *zap.Logger
	intake *intake

	namesakes  namesakes
	deliveries sync.WaitGroup
	// uploads ends when files are stored no longer, so that some time is left to
	// tell that they were not. Run sets it.
	uploads   context.Context
	abandoned atomic.Bool
	active    atomic.Int64
	pixels    *semaphore.Weighted // of pictures that are converted at the moment
}

// New returns a Worker.
func New(cfg Config, log *zap.Logger) *Worker {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&cfg.Stall, 5*time.Minute)
	set(&cfg.QueueStall, 10*time.Second)
	set(&cfg.Wear.Look, 10*time.Second)
	set(&cfg.Fitness.Look, time.Second)
	set(&cfg.Fitness.Rest, 20*time.Second)
	set(&cfg.Drain, 6*time.Second)
	set(&cfg.Deliver, 1500*time.Millisecond)
	if cfg.Guard == nil {
		cfg.Guard = func(string) func() { return func() {} }
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Event) {}
	}
	if cfg.Watched == nil {
		cfg.Watched = func() bool { return false }
	}
	for _, slot := range cfg.Slots {
		slot.room = semaphore.NewWeighted(lanesMax)
		slot.users = semaphore.NewWeighted(everybody)
	}
	return &Worker{
		cfg: cfg, log: log, intake: newIntake(cfg.Source, cfg.Refresh == RefreshPod),
		pixels: semaphore.NewWeighted(convert.MaxPixels),
	}
}

// Active is the number of jobs at hand, from taking to delivery.
func (w *Worker) Active() int { return int(w.active.Load()) }

// Run takes and does jobs until ctx ends, or until the one job of a pod that
// is to be refreshed is done. It returns when every job taken has an outcome
// that was delivered, or that could not be delivered in the time given.
func (w *Worker) Run(ctx context.Context) error {
	ctx, quit := context.WithCancelCause(ctx)
	defer quit(nil)
	jobs, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	deliveries, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	uploads, endUploads := context.WithCancel(deliveries)
	defer endUploads()
	w.uploads = uploads

	lanes, endLanes := context.WithCancel(jobs)
	defer endLanes()

	finished := make(chan struct{})
	var clock, working sync.WaitGroup
	clock.Go(func() { w.drain(ctx, finished, abandon, endUploads, giveUp) })
	for _, slot := range w.cfg.Slots {
		for range w.lanesPerSlot() {
			working.Go(func() {
				if err := contained(w.log, "a job was waited for", func() {
					n := &lane{w: w, slot: slot, tokens: make(chan struct{}, 2), letGo: func() {}}
					n.run(lanes, jobs, deliveries)
				}); err != nil {
					quit(err)
				}
			})
		}
		working.Go(func() {
			_ = contained(w.log, "leftovers were looked for", func() { w.keepHouse(lanes, slot) }) // they stay then
		})
		if !w.cfg.Unchecked {
			working.Go(func() {
				_ = contained(w.log, "ComfyUI was asked for its nodes", func() { slot.learn(lanes, w.log) }) // it judges workflows alone then
			})
		}
	}
	unstarted, err := w.takeJobs(ctx, jobs)
	endLanes()
	for _, j := range unstarted {
		l := w.begin(jobs, nil, j)
		l.fail(errShutdown)
		w.deliverBeside(deliveries, l, nil, func() {})
	}
	working.Wait()
	w.deliveries.Wait()
	close(finished)
	clock.Wait()

	fault := context.Cause(ctx)
	switch {
	case errors.Is(fault, errPanic):
		return fault
	case w.abandoned.Load():
		return ErrAbandoned
	case err != nil:
		return err
	case ctx.Err() == nil:
		return ErrRefresh
	}
	return ctx.Err()
}
