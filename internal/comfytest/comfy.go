package comfytest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config says which ComfyUI is simulated and where it keeps its files. Only
// one of Dir and the three directories together is needed.
type Config struct {
	// Version is V0364 (the default), V0330, or any other version number.
	Version string
	// Dir is the base directory. Empty directories below default to
	// input, output and temp in it.
	Dir                          string
	OutputDir, InputDir, TempDir string
	// Models are the names offered in lists, by folder. nil means a few
	// well-known ones.
	Models map[string][]string
	// Argv and DeployEnvironment are shown in /system_stats.
	Argv []string
	// MaxBody is the limit of a request body in bytes, 100 MiB if it is 0.
	MaxBody int64
	// NoCache runs every node anew, as --cache-none does. CacheLRU keeps the
	// results of as many nodes across prompts, as --cache-lru does.
	NoCache  bool
	CacheLRU int

	// Previews makes samplers send a picture with each step, as
	// --preview-method does.
	Previews bool

	// StepDelay is the time of one sampler step, 5 ms if it is 0; NodeDelay
	// that of any other node; GCDelay passes before the end marker of a
	// prompt; Teardown is how long a fatal error leaves the process half
	// dead, 50 ms if it is 0. Negative durations mean none.
	StepDelay, NodeDelay, GCDelay, Teardown time.Duration

	// Faults is the script of what goes wrong from the start.
	Faults Faults
	// Log takes each line that ComfyUI would log. It may be nil.
	Log func(line string)
	// Record is told of each execution when it starts and when it ends. It may
	// be nil.
	Record func(Execution)
	// Exit is told when the process would end: with a code, or by a signal.
	// It is called once, from a goroutine of the simulator, after every
	// connection of its own was cut. It may be nil.
	Exit func(code int, sig syscall.Signal)
	// Real lets nodes do what only a process of its own may do to itself.
	Real *RealProcess

	ledger *ledger
}

// Comfy is one incarnation of a simulated ComfyUI: an http.Handler and the
// goroutines that run its queue and send its messages.
type Comfy struct {
	cfg     Config
	gen     generation
	classes *classTable
	routes  http.Handler
	log     *logbook
	ledger  *ledger
	faults  faultbook
	loop    eventLoop
	gil     eventLoop // blocked while a node holds the interpreter
	hub     *hub

	ctx    context.Context // ends with the process
	cancel context.CancelFunc
	wg     sync.WaitGroup
	exit   sync.Once
	fatal  sync.Once

	interrupted atomic.Bool
	zombie      atomic.Bool // the worker thread has to die at its next step

	mu       sync.Mutex
	queue    promptQueue
	history  historyBook
	clientID *string // owner of the latest prompt
	lastNode string  // the node at work, "" if none
	freeing  bool
	leaked   [][]byte
}

// New starts a simulated ComfyUI. The caller must Close it. It panics when
// its directories cannot be made, for nothing can be tested without them.
func New(cfg Config) *Comfy {
	cfg = cfg.withDefaults()
	os.RemoveAll(cfg.TempDir) // so does ComfyUI, even with another instance's files in it
	for _, dir := range []string{cfg.OutputDir, cfg.InputDir, cfg.TempDir} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			panic(fmt.Sprintf("comfytest: make directory %s: %v", dir, err))
		}
	}
	gen := generationOf(cfg.Version)
	c := &Comfy{
		cfg:     cfg,
		gen:     gen,
		log:     &logbook{colored: gen.coloredLog, print: cfg.printLog},
		ledger:  cfg.ledger,
		classes: gen.classes(),
		routes:  gen.routes(),
		history: newHistoryBook(),
		queue:   newPromptQueue(),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.hub = newHub(c)
	c.wg.Go(c.hub.run)
	c.wg.Go(c.work)
	c.SetFaults(cfg.Faults)
	return c
}

// printLog passes a log line on.
func (cfg Config) printLog(level, line string) {
	if cfg.Log != nil {
		cfg.Log(line)
	}
	if cfg.Real != nil && cfg.Real.Log != nil {
		cfg.Real.Log(level, line)
	}
}

func (cfg Config) withDefaults() Config {
	if cfg.Version == "" {
		cfg.Version = V0364
	}
	set := func(dir *string, name string) {
		if *dir == "" {
			*dir = filepath.Join(cfg.Dir, name)
		}
		if abs, err := filepath.Abs(*dir); err == nil {
			*dir = abs
		}
	}
	set(&cfg.OutputDir, "output")
	set(&cfg.InputDir, "input")
	set(&cfg.TempDir, "temp")
	if cfg.Models == nil {
		cfg.Models = defaultModels()
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 100 << 20
	}
	if cfg.StepDelay == 0 {
		cfg.StepDelay = 5 * time.Millisecond
	}
	if cfg.Teardown == 0 {
		cfg.Teardown = 50 * time.Millisecond
	}
	if cfg.ledger == nil {
		cfg.ledger = newLedger()
	}
	return cfg
}
