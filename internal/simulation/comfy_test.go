package simulation

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
	"github.com/comfyvisor/comfyvisor/supervisor"
)

// A comfyui is what the supervisor of one instance starts in place of a process.
type comfyui struct {
	r    *run
	in   *instance
	dir  string
	link *link
	told func(line string) // what is written to the standard error

	life atomic.Uint64 // changes with each sign of it

	mu    sync.Mutex
	boots []*boot // of the next incarnations, those that are out of the ordinary
	now   *incarnation
	// remembered is the largest history that an incarnation had at its end.
	remembered int
	all        []*incarnation
}

// A boot is how an incarnation starts.
type boot struct {
	takes   time.Duration // 0 is as usual
	refused bool          // it cannot be started
	dies    bool          // instead of listening
	deaf    bool          // to SIGTERM
	acted   int
}

// An incarnation is one process that was started.
type incarnation struct {
	c     *comfyui
	n     int
	boot  *boot
	ended chan struct{} // closed at its death
	once  sync.Once
	dead  chan supervisor.Exit
	gone  chan error

	mu     sync.Mutex
	exited bool
	exit   supervisor.Exit
	comfy  *comfytest.Comfy // nil until it listens
	server *http.Server
	served chan struct{}
}

// next lets the next incarnations start as told. Acted tells how many have.
func (c *comfyui) next(boots []boot) (acted func() int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var mine []*boot
	for _, b := range boots {
		mine = append(mine, &b)
	}
	c.boots = append(c.boots, mine...)
	return func() (n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, b := range mine {
			n += b.acted
		}
		return n
	}
}

// launch is the supervisor's seam.
func (c *comfyui) launch(n int) (*supervisor.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil {
		c.r.violation("", "a ComfyUI is started beside another")
	}
	how := new(boot)
	if len(c.boots) > 0 {
		how, c.boots = c.boots[0], c.boots[1:]
		how.acted++
	}
	if how.refused {
		return nil, fmt.Errorf("start comfyui: %w", unix.EAGAIN)
	}
	i := &incarnation{c: c, n: n, boot: how, ended: make(chan struct{}), dead: make(chan supervisor.Exit, 1), gone: make(chan error, 1)}
	c.now = i
	c.all = append(c.all, i)
	c.r.wg.Go(i.start)
	return &supervisor.Process{PID: 1<<30 + n, Signal: i.signal, Dead: i.dead, Gone: i.gone}, nil
}

// start listens when the boot is over.
func (i *incarnation) start() {
	takes := i.boot.takes
	if takes == 0 {
		takes = i.c.r.plan.setup.boot
	}
	timer := time.NewTimer(takes)
	defer timer.Stop()
	select {
	case <-i.ended:
		return
	case <-timer.C:
	}
	if i.boot.dies {
		i.die(supervisor.Exit{Code: 1})
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.exited {
		return
	}
	i.comfy = comfytest.New(comfytest.Config{
		Version: i.c.r.plan.setup.version, Dir: i.c.dir,
		Log: i.log, Exit: func(code int, sig syscall.Signal) { i.die(supervisor.Exit{Code: code, Signal: sig}) },
	})
	i.server, i.served = &http.Server{Handler: i.comfy, ErrorLog: discard}, make(chan struct{})
	on := i.c.link.listen()
	i.c.r.listens(i.c.in)
	i.c.r.wg.Go(func() { defer close(i.served); _ = i.server.Serve(on) })
}

// log takes what ComfyUI logs. A traceback that ends a thread goes to the
// standard error.
func (i *incarnation) log(line string) {
	i.c.life.Add(1)
	if strings.Contains(line, "Exception in thread") {
		i.c.told(line)
	}
}

func (i *incarnation) signal(sig unix.Signal) {
	switch {
	case sig == unix.SIGKILL:
		i.die(supervisor.Exit{Code: -1, Signal: sig})
	case !i.boot.deaf:
		i.c.r.later(5*time.Millisecond, func() { i.die(supervisor.Exit{Code: -1, Signal: sig}) })
	}
}

// die is the end: all connections are cut, and the news of it takes a moment.
func (i *incarnation) die(exit supervisor.Exit) {
	i.once.Do(func() {
		i.mu.Lock()
		exit.At = time.Now()
		i.exited, i.exit = true, exit
		comfy, server, served := i.comfy, i.server, i.served
		i.mu.Unlock()
		close(i.ended)
		i.c.r.wg.Go(func() {
			if comfy != nil {
				i.c.remembers(comfy.HistorySize())
				server.Close()
				comfy.Close()
				<-served
			}
			<-time.After(time.Millisecond)
			i.c.mu.Lock()
			i.c.now = nil
			i.c.mu.Unlock()
			i.dead <- exit
			i.gone <- nil
		})
	})
}

// kill ends the incarnation that runs.
func (c *comfyui) kill(exit supervisor.Exit) (acted func() int) {
	c.mu.Lock()
	now := c.now
	c.mu.Unlock()
	if now == nil {
		return nil
	}
	now.die(exit)
	return once
}

// inject gives a fault to the incarnation that runs.
func (c *comfyui) inject(f comfytest.Fault) (acted func() int) {
	c.mu.Lock()
	now := c.now
	c.mu.Unlock()
	if now == nil {
		return nil
	}
	now.mu.Lock()
	defer now.mu.Unlock()
	if now.comfy == nil || now.exited {
		return nil
	}
	return now.comfy.Inject(f)
}

// heal takes back what has not yet happened.
func (c *comfyui) heal() {
	c.mu.Lock()
	c.boots = nil
	now := c.now
	c.mu.Unlock()
	if now == nil {
		return
	}
	now.mu.Lock()
	defer now.mu.Unlock()
	if now.comfy != nil && !now.exited {
		now.comfy.SetFaults(nil)
	}
}

// executions are those of all incarnations.
func (c *comfyui) executions() []comfytest.Execution { return slices.Concat(c.ledgers()...) }

// mostJobs is how many jobs one incarnation has run at most.
func (c *comfyui) mostJobs() (most int) {
	for _, ran := range c.ledgers() {
		jobs := make(map[string]bool)
		for _, e := range ran {
			jobs[promptIDs()[e.PromptID]] = true
		}
		most = max(most, len(jobs))
	}
	return most
}

// ledgers are the executions of each incarnation.
func (c *comfyui) ledgers() (all [][]comfytest.Execution) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.all {
		i.mu.Lock()
		if i.comfy != nil {
			all = append(all, i.comfy.Executions())
		}
		i.mu.Unlock()
	}
	return all
}

// remembers takes down how long a history was.
func (c *comfyui) remembers(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remembered = max(c.remembered, n)
}

// rushed tells what all incarnations were asked too often.
func (c *comfyui) rushed() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.all {
		i.mu.Lock()
		if i.comfy != nil {
			all = append(all, i.comfy.Rushed()...)
		}
		i.mu.Unlock()
	}
	return all
}

// exits are the ends of incarnations so far.
func (c *comfyui) exits() (all []supervisor.Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.all {
		i.mu.Lock()
		if i.exited {
			all = append(all, i.exit)
		}
		i.mu.Unlock()
	}
	return all
}
