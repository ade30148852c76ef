package comfytest

import (
	"context"
	"os"
	"strings"
	"syscall"
	"time"
)

// Close ends the simulated process and waits for its goroutines. Connections
// are cut, no goroutine is left, files stay. It may be called twice, but not
// from Config.Exit or Config.Log.
func (c *Comfy) Close() {
	c.end(func() {})
	c.wg.Wait()
}

// Die ends the process from outside, as a signal or an out-of-memory kill
// does: connections are cut at once, and Config.Exit is called.
func (c *Comfy) Die(code int, sig syscall.Signal) {
	c.end(func() {
		if c.cfg.Exit != nil {
			c.cfg.Exit(code, sig)
		}
	})
}

// end is the moment of death: nothing is sent, answered or run any more.
func (c *Comfy) end(tell func()) {
	c.exit.Do(func() {
		c.mu.Lock()
		c.cancel()
		c.mu.Unlock()
		c.hub.cut()
		c.loseRunning()
		tell()
	})
}

// spawn runs f in a goroutine that Close waits for, unless the process has
// ended already.
func (c *Comfy) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() == nil {
		c.wg.Go(f)
	}
}

// Interrupt is SIGINT: the half-dead phase, in which requests hang and sockets
// are silent, then the exit with code 0 and without the temp directory.
// While a node holds the interpreter nothing of it begins.
func (c *Comfy) Interrupt() {
	c.spawn(func() {
		if c.gil.wait(nil, c.ctx.Done()) {
			c.tearDown(0)
		}
	})
}

// tearDown is the slow end of a Python process.
func (c *Comfy) tearDown(code int) {
	c.fatal.Do(func() {
		c.loop.block()
		if code == 0 {
			c.log.info("\nStopped server")
		}
		c.spawn(func() {
			if !c.sleep(context.Background(), c.cfg.Teardown) {
				return
			}
			if code == 0 {
				os.RemoveAll(c.cfg.TempDir)
			}
			c.Die(code, 0)
		})
	})
}

// Done is closed when the process has ended.
func (c *Comfy) Done() <-chan struct{} { return c.ctx.Done() }

// sleep waits for d and returns true, or false when ctx or the process ends.
func (c *Comfy) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil && c.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	case <-c.ctx.Done():
		return false
	}
}

// SetFaults replaces the script of what goes wrong. The turns of its rules
// are counted from here, and its "process" rules take effect at once.
func (c *Comfy) SetFaults(f Faults) {
	c.faults.set(f)
	for range f {
		fault, ok := c.faults.next("process")
		if !ok {
			return
		}
		c.afflict(fault)
	}
}

// Inject adds one fault to the script, behind what is in it. Acted tells how often
// the fault has taken effect. One of the process takes effect at once.
func (c *Comfy) Inject(f Fault) (acted func() int) {
	if f.On == "process" {
		c.afflict(f)
		return func() int { return 1 }
	}
	return c.faults.add(f)
}

// afflict does what a "process" rule says. What needs no time has been done when it
// returns: whatever the caller does next meets it.
func (c *Comfy) afflict(f Fault) {
	if f.Delay == 0 && (f.Do == "zombie" || f.Do == "wipe") {
		c.suffer(f)
		return
	}
	c.spawn(func() {
		if f.Do == "block" || strings.HasPrefix(f.Do, "link ") || c.sleep(context.Background(), f.Delay) {
			c.suffer(f)
		}
	})
}

func (c *Comfy) suffer(f Fault) {
	switch f.Do {
	case "zombie":
		c.zombie.Store(true)
		c.queue.poke()
	case "block":
		release := c.loop.block()
		defer release()
		c.sleep(context.Background(), f.Delay)
	case "wipe":
		c.mu.Lock()
		c.history = newHistoryBook()
		c.mu.Unlock()
	case "teardown":
		c.tearDown(f.Status)
	case "exit":
		c.Die(f.Status, 0)
	case "kill":
		c.Die(-1, syscall.SIGKILL)
	case "link reset", "link silent", "link drip":
		if c.cfg.Real != nil {
			c.cfg.Real.Spoil(strings.TrimPrefix(f.Do, "link "), f.Delay)
		}
	}
}
