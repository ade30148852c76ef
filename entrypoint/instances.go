package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/health"
	"github.com/comfyvisor/comfyvisor/internal/status"
	"github.com/comfyvisor/comfyvisor/supervisor"
	"github.com/comfyvisor/comfyvisor/worker"
)

// everyGPU is the value of COMFY_INSTANCES that asks for one ComfyUI on each.
const everyGPU = "auto"

// mostInstances is more than any machine has GPUs.
const mostInstances = 32

// A place is what one ComfyUI has for itself.
type place struct {
	name  string
	child string // the logger of its lines
	port  int
	gpu   string // its CUDA_VISIBLE_DEVICES, "" for ours
	flags [][]string
}

// places are those of all ComfyUIs that cfg asks for. The first has everything
// that the only one would have. The others must not share its directory for
// temporary files, which each empties when it starts, nor its database, which
// only one can open.
func places(cfg Config, environ []string) ([]place, error) {
	var gpus []string
	if argv, err := comfyArgv(cfg); err == nil && !hasFlag(argv, "--cpu") {
		g := health.GPU{Visible: lookup(environ, "NVIDIA_VISIBLE_DEVICES")}
		gpus = g.Names(lookup(environ, "CUDA_VISIBLE_DEVICES"))
	}
	count := max(1, len(gpus))
	if cfg.Comfy.Instances != everyGPU {
		count, _ = strconv.Atoi(cfg.Comfy.Instances) // checked when it was read
	}
	all := make([]place, count)
	for i := range all {
		at := place{name: supervisor.DefaultName, child: childName, port: cfg.Comfy.Port + i}
		if i > 0 {
			at.name += fmt.Sprint("-", i)
			at.child += fmt.Sprint(".", i)
			dir := filepath.Join(cfg.General.DataDir, at.name)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return nil, fmt.Errorf("DATA_DIR: a second ComfyUI needs it for temporary files: %w", err)
			}
			at.flags = [][]string{{"--temp-directory", dir}, {"--database-url", "sqlite:///:memory:"}}
		}
		if count > 1 && len(gpus) > 0 {
			at.gpu = gpus[i%len(gpus)]
		}
		all[i] = at
	}
	return all, nil
}

// instances are all ComfyUIs of the pod. One that is given up costs the others
// nothing.
type instances []*instance

func newInstances(s surroundings) (instances, error) {
	at, err := places(s.cfg, s.environ)
	if err != nil {
		return nil, err
	}
	s.cfg.Comfy.Instances = strconv.Itoa(len(at))
	if err := errors.Join(s.cfg.sharedPorts()...); err != nil {
		return nil, err
	}
	s.several = len(at) > 1
	all := make(instances, len(at))
	for i := range all {
		if all[i], err = newInstance(s, at[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// run keeps all of them running. It returns when ctx has ended, or when the last
// one was given up, and then why.
func (all instances) run(ctx context.Context) (err error) {
	type end struct {
		in  *instance
		err error
	}
	ends := make(chan end)
	for _, in := range all {
		go func() { ends <- end{in, in.seen.panics.restarts(in.name, in.run)(ctx)} }()
	}
	for left := len(all) - 1; left >= 0; left-- {
		e := <-ends
		if err = e.err; left > 0 && ctx.Err() == nil {
			e.in.log.Error("ComfyUI was given up, the others go on", zap.Error(err), zap.Int("others", left))
		}
	}
	return err
}

// ready returns why no job would be run, nil if one of them would.
func (all instances) ready() error {
	var reasons []error
	for _, in := range all {
		err := in.gate.Err()
		if err == nil {
			return nil
		}
		if len(all) > 1 {
			err = fmt.Errorf("%s: %w", in.name, err)
		}
		reasons = append(reasons, err)
	}
	return errors.Join(reasons...)
}

func (all instances) slots() (slots []*worker.Slot) {
	for _, in := range all {
		slots = append(slots, in.slot)
	}
	return slots
}

func (all instances) loops() (loops []status.Loop) {
	for _, in := range all {
		name := "health"
		if len(all) > 1 {
			name += " of " + in.name
		}
		loops = append(loops, status.Loop{Name: name, Late: in.monitor.Late()})
	}
	return loops
}

func (all instances) states() (states []instanceState) {
	for _, in := range all {
		states = append(states, in.state())
	}
	return states
}

// warmBy tells them who runs their warm-ups. It is called before run.
func (all instances) warmBy(w *worker.Worker) {
	for _, in := range all {
		in.work = w
	}
}

// close gives back what they hold.
func (all instances) close() {
	for _, in := range all {
		in.client.Close()
	}
}
