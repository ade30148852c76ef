package main

import (
	"os"
	"path/filepath"
	"time"
)

// boot loads everything before the port is bound: it takes the boot time and
// logs what ComfyUI logs on the way. The act of this start may end it early; then
// it does not return without an error, however late a busy machine's timer fires.
func (p *process) boot() error {
	if p.sim.act.Print != "" {
		os.Stderr.WriteString(p.sim.act.Print)
	}
	lines := p.bootLines()
	var ending <-chan time.Time
	if a := p.sim.act; !a.Ready && (a.Exit != nil || a.Signal != 0) {
		after, err := durationOf(a.After, 0)
		if err != nil {
			return err
		}
		ending = time.After(after)
	}
	pause := p.sim.boot / time.Duration(len(lines))
	for _, line := range lines {
		p.log(line.level, line.text)
		if err := p.wait(time.After(pause), ending); err != nil {
			return err
		}
	}
	if p.sim.act.Hang || ending != nil {
		if err := p.wait(nil, ending); err != nil {
			return err
		}
	}
	p.log("INFO", "Starting server\n")
	return os.RemoveAll(p.tempDir())
}

// wait returns when the pause is over, and does not when the act ends first.
func (p *process) wait(pause, ending <-chan time.Time) error {
	if ending == nil && pause == nil {
		select {}
	}
	select {
	case <-pause:
		return nil
	case <-ending:
		code, sig := p.sim.act.code()
		if sig != 0 {
			dieBy(sig)
		}
		return exitError(code)
	}
}

func (p *process) tempDir() string {
	if d := p.value("--temp-directory"); d != "" {
		return filepath.Join(d, "temp")
	}
	return filepath.Join(p.dir, "temp")
}

type bootLine struct{ level, text string }

func (p *process) bootLines() []bootLine {
	info := func(text string) bootLine { return bootLine{"INFO", text} }
	lines := []bootLine{
		info("Checkpoint files will always be loaded safely."),
		info("Total VRAM 24564 MB, total RAM 64216 MB"),
		info("pytorch version: 2.8.0+cu128"),
		info("Set vram state to: NORMAL_VRAM"),
		info("Device: cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync"),
		info("Using pytorch attention"),
		info("Python version: 3.12.3 (main) [GCC 13.2.0]"),
		info("ComfyUI version: " + p.sim.version),
		{"DEBUG", "Using selector: EpollSelector"},
		info("[Prompt Server] web root: /comfyui/web"),
		info("\nImport times for custom nodes:"),
		info("   0.0 seconds: " + filepath.Join(p.dir, "custom_nodes", "websocket_image_save.py")),
		info(""),
		info("Context impl SQLiteImpl."),
		info("Will assume non-transactional DDL."),
	}
	if p.has("--base-directory") {
		lines = append([]bootLine{info("Setting base directory to: " + p.dir)}, lines...)
	}
	if newer(p.sim.version) {
		lines = append(lines, info("Using RAM pressure cache."))
	}
	return lines
}
