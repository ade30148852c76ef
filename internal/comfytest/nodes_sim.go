package comfytest

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"
	"time"
)

// simClasses are nodes of the simulator's own: all inputs are optional, all
// are output nodes, so that a prompt may consist of one of them.
func simClasses() []class {
	sim := func(name string, returns []string, run func(*call) (*result, error), inputs ...input) class {
		for i := range inputs {
			inputs[i].optional = true
		}
		return class{name: name, category: "simulator", output: true, inputs: inputs, returns: returns, run: run}
	}
	picture := []string{"IMAGE"}
	raise := sim("SimRaise", picture, raiseError, textIn("exception_type", "ValueError"), textIn("message", "boom"), textIn("stderr", ""), seedIn(), linkIn("after", "*"))
	raise.wantsKeys = true
	oom := sim("SimOOM", picture, raiseOOM, textIn("message", ""), seedIn(), linkIn("after", "*"))
	env := sim("SimEnv", nil, showEnviron)
	env.changed = func(*Comfy, *object) any { return time.Now().UnixNano() }
	return []class{
		sim("SimSleep", picture, sleepNode, floatIn("seconds", 1, 0, 1e6), comboIn("mode", "sleep", "poll", "async", "gil", "swallow"),
			intIn("steps", 20, 1, 100000), seedIn(), linkIn("after", "*")),
		sim("SimSlowChange", picture, func(*call) (*result, error) { return returns(simPicture(0)) }, floatIn("seconds", 1, 0, 1e6), seedIn()),
		raise, oom, env,
		sim("SimFiles", nil, writeFiles, intIn("count", 1, 0, 100000), intIn("bytes", 1024, 0, 1<<40), textIn("kind", "images"),
			textIn("ext", "bin"), textIn("filename_prefix", "sim"), textIn("subfolder", ""), boolIn("report", true), boolIn("temp", false), seedIn()),
		sim("SimText", []string{"STRING"}, func(k *call) (*result, error) {
			return &result{values: []any{k.text("text")}, ui: obj("text", []any{k.text("text")})}, nil
		}, textIn("text", "")),
		sim("SimUI", nil, showRaw, textIn("json", "{}")),
		sim("SimNaN", nil, func(*call) (*result, error) { return shows("val", []any{math.NaN()}) }, seedIn()),
		sim("SimLog", nil, logLines, intIn("lines", 1, 0, 1<<30), intIn("bytes", 80, 0, 1<<30), textIn("newline", "\n"), seedIn()),
		sim("SimLeak", nil, leak, intIn("mb", 1, 0, 1<<20), seedIn()),
		sim("SimBlock", picture, func(k *call) (*result, error) { return returns(blocker{k.text("message")}) }, textIn("message", ""), seedIn()),
		sim("SimTag", picture, func(k *call) (*result, error) {
			return &result{values: []any{k.in.get("image")}, ui: obj("tags", []any{k.text("tag")})}, nil
		}, textIn("tag", ""), linkIn("image", "IMAGE")),
	}
}

func simPicture(seed int) *picture {
	return plain(64, 64, 1, color.RGBA{uint8(seed), uint8(seed >> 8), uint8(seed >> 16), 255})
}

// sleepNode takes its time: in one piece that nothing interrupts (sleep,
// async, gil), or in steps that look for an interrupt (poll, swallow). With
// gil nothing is answered meanwhile. swallow is a node with a bare except
// around its work, which the older generation lets it have.
func sleepNode(k *call) (*result, error) {
	length := time.Duration(k.float("seconds", 1) * float64(time.Second))
	out, _ := returns(simPicture(k.int("seed", 0)))
	mode := k.text("mode")
	if mode != "poll" && mode != "swallow" {
		if mode == "gil" {
			defer k.c.loop.block()()
			defer k.c.gil.block()()
		}
		if !k.c.sleep(k.c.ctx, length) {
			return nil, errProcessEnded
		}
		return out, nil
	}
	steps := max(1, k.int("steps", 20))
	for i := range steps {
		if !k.c.sleep(k.c.ctx, length/time.Duration(steps)) {
			return nil, errProcessEnded
		}
		if err := k.poll(); err == errInterrupted && mode == "swallow" && !k.c.gen.strictInterrupt {
			continue
		} else if err != nil {
			return nil, err
		}
		k.run.progress.step(k.id, i+1, steps, nil)
	}
	return out, nil
}

// slowChange serves SimSlowChange before the nodes run: its IS_CHANGED takes
// the time, and looks for an interrupt. In the newer generation the interrupt
// passes every handler and ends the worker thread.
func (r *run) slowChange() error {
	for _, id := range r.p.workflow.keys {
		if r.class(id).name != "SimSlowChange" {
			continue
		}
		inputs, _ := r.p.workflow.get(id).(*object).get("inputs").(*object)
		seconds, _ := toFloat(inputs.get("seconds"))
		for end := time.Now().Add(time.Duration(seconds * float64(time.Second))); time.Now().Before(end); {
			if !r.c.sleep(r.c.ctx, time.Millisecond) {
				return errProcessEnded
			}
			if !r.c.interrupted.Swap(false) {
				continue
			}
			if r.c.gen.strictInterrupt {
				return errWorkerGone
			}
			break
		}
	}
	return nil
}

func raiseError(k *call) (*result, error) {
	kind := k.text("exception_type")
	if kind == "" {
		kind = "ValueError"
	}
	if line := k.text("stderr"); line != "" {
		k.c.log.error("%s", line)
	}
	return nil, &exception{kind, k.text("message")}
}

func raiseOOM(k *call) (*result, error) {
	message := k.text("message")
	if message == "" {
		message = "Allocation on device 0 would exceed allowed memory. (out of memory)\nCurrently allocated     : 21.53 GiB\nRequested               : 20.00 GiB"
	}
	return nil, &exception{"torch.OutOfMemoryError", message}
}

// writeFiles writes files of pseudo-random bytes, and reports them or not.
func writeFiles(k *call) (*result, error) {
	kind := "output"
	if k.flag("temp") {
		kind = "temp"
	}
	prefix := k.text("filename_prefix")
	if prefix == "" {
		prefix = "sim"
	}
	if sub := k.text("subfolder"); sub != "" {
		prefix = sub + "/" + prefix
	}
	ext := k.text("ext")
	if ext == "" {
		ext = "bin"
	}
	at, err := k.place(kind, prefix, 0, 0)
	if err != nil {
		return nil, err
	}
	files := []any{}
	for i := range k.int("count", 1) {
		seed := seedOf("files", uint64(k.int("seed", 0)), uint64(i))
		file, err := k.save(at, ext, func(w io.Writer) error { return media(w, ext, seed, int64(k.int("bytes", 1024))) })
		if err != nil {
			return nil, err
		}
		files = append(files, file)
		if k.c.ctx.Err() != nil {
			return nil, errProcessEnded
		}
	}
	if k.in.has("report") && !k.flag("report") {
		return &result{}, nil
	}
	key := k.text("kind")
	if key == "" {
		key = "images"
	}
	return shows(key, files)
}

// logLines logs, or prints without line feeds as progress bars do.
func logLines(k *call) (*result, error) {
	line := strings.Repeat("log ", k.int("bytes", 80)/4+1)[:k.int("bytes", 80)]
	newline := "\n"
	if k.in.has("newline") {
		newline = k.text("newline")
	}
	for i := range k.int("lines", 1) {
		if k.c.ctx.Err() != nil {
			return nil, errProcessEnded
		}
		if newline == "\n" || k.c.cfg.Real == nil {
			k.c.log.info("%s", line)
			continue
		}
		k.c.cfg.Real.Print(fmt.Sprintf("%s%d%s", line, i, newline))
	}
	return &result{}, nil
}

// leak takes memory that only the end of the process gives back.
func leak(k *call) (*result, error) {
	for range k.int("mb", 1) {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		k.c.mu.Lock()
		k.c.leaked = append(k.c.leaked, block)
		k.c.mu.Unlock()
	}
	return &result{}, nil
}

// showRaw reports whatever it is given.
func showRaw(k *call) (*result, error) {
	v, err := decode([]byte(k.text("json")))
	ui, ok := v.(*object)
	if err != nil || !ok {
		return nil, &exception{"ValueError", "SimUI needs a JSON object"}
	}
	return &result{ui: ui}, nil
}

func showEnviron(k *call) (*result, error) {
	if k.c.cfg.Real == nil {
		return nil, &exception{"RuntimeError", "SimEnv needs a process of its own"}
	}
	return shows("text", []any{strings.Join(k.c.cfg.Real.Environ(), "\n")})
}
