package comfytest

import (
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A RealProcess is what nodes may do to the process that they live in. Only
// the executable has one.
type RealProcess struct {
	// Log takes log lines with their level.
	Log func(level, line string)
	// Environ is the environment.
	Environ func() []string
	// Print writes to the standard output without a log prefix.
	Print func(text string)
	// Fork starts a child that outlives its parent.
	Fork func(Child) error
	// Reboot starts the program anew, as ComfyUI-Manager does.
	Reboot func()
	// Spoil spoils all connections of the process, as faults of the process may.
	Spoil func(how string, lasts time.Duration)
}

// A Child is a process that a node starts.
type Child struct {
	Setsid     bool // in a session of its own
	HoldStdout bool // keeps the standard output open
	Port       int  // listens on this port, 0 for none
}

// reboot is the route by which ComfyUI-Manager starts the program anew.
func (c *Comfy) reboot(w http.ResponseWriter, r *http.Request) {
	if c.cfg.Real == nil || c.cfg.Real.Reboot == nil {
		http.NotFound(w, r)
		return
	}
	c.cfg.Real.Reboot()
}

func simDeathClasses() []class {
	inputs := []input{
		textIn("how", "sigkill").maybe(), comboIn("when", "before_output", "after_output").maybe(),
		seedIn().maybe(), linkIn("after", "*").maybe(),
	}
	fork := []input{intIn("count", 1, 0, 1000).maybe(), boolIn("setsid", false).maybe(), boolIn("hold_stdout", false).maybe(),
		intIn("port", 0, 0, 65535).maybe(), seedIn().maybe()}
	return []class{
		{name: "SimDie", category: "simulator", output: true, inputs: inputs, returns: []string{"IMAGE"}, run: dieNode},
		{name: "SimFork", category: "simulator", output: true, inputs: fork, run: forkNode},
	}
}

// dieNode ends the process, or only the worker thread, in the way of how.
func dieNode(k *call) (*result, error) {
	how := k.text("how")
	if how == "" {
		how = "sigkill"
	}
	if k.text("when") == "after_output" {
		if _, err := k.saveFrames("output", "die", simPicture(k.int("seed", 0))); err != nil {
			return nil, err
		}
	}
	signals := map[string]syscall.Signal{"sigkill": syscall.SIGKILL, "sigsegv": syscall.SIGSEGV, "abort": syscall.SIGABRT, "sigterm": syscall.SIGTERM}
	if sig, ok := signals[how]; ok {
		if sig == syscall.SIGSEGV && k.c.gen.coloredLog {
			k.c.log.error("Fatal Python error: Segmentation fault")
		}
		k.c.Die(-1, sig)
		return nil, errProcessEnded
	}
	switch how {
	case "sys_exit":
		return nil, errWorkerGone
	case "keyboardinterrupt":
		k.c.log.error("Exception in thread Thread-1 (prompt_worker):\nTraceback (most recent call last):\nKeyboardInterrupt")
		return nil, errWorkerGone
	case "sigint":
		k.c.tearDown(0)
		<-k.c.ctx.Done()
		return nil, errProcessEnded
	case "bad_ui":
		return shows("val", []any{struct{}{}})
	}
	code, err := strconv.Atoi(strings.TrimPrefix(how, "exit:"))
	if err != nil {
		return nil, &exception{"ValueError", "SimDie knows no way called " + how}
	}
	k.c.Die(code, 0)
	return nil, errProcessEnded
}

func forkNode(k *call) (*result, error) {
	if k.c.cfg.Real == nil {
		return nil, &exception{"RuntimeError", "SimFork needs a process of its own"}
	}
	for range k.int("count", 1) {
		err := k.c.cfg.Real.Fork(Child{Setsid: k.flag("setsid"), HoldStdout: k.flag("hold_stdout"), Port: k.int("port", 0)})
		if err != nil {
			return nil, &exception{"OSError", err.Error()}
		}
	}
	return &result{}, nil
}
