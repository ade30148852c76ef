package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A process is one incarnation of the program.
type process struct {
	sim   simulation
	given map[string][]string
	args  []string
	dir   string // the base directory

	lines lines // its connections

	mu sync.Mutex // over the output streams
}

func newProcess(sim simulation, given map[string][]string, args []string) *process {
	p := &process{sim: sim, given: given, args: args, dir: "."}
	if d := p.value("--base-directory"); d != "" {
		p.dir = d
	}
	return p
}

// value is the first value of a flag, "" if it has none.
func (p *process) value(name string) string {
	if values := p.given[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (p *process) has(name string) bool { return p.given[name] != nil }

// checkDirectories finds what makes Python end with an exception early on.
func (p *process) checkDirectories() error {
	for _, file := range p.given["--extra-model-paths-config"] {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("FileNotFoundError: [Errno 2] No such file or directory: '%s'", file)
		}
	}
	if nodes := filepath.Join(p.dir, "custom_nodes"); p.has("--base-directory") {
		if _, err := os.Stat(nodes); err != nil {
			return fmt.Errorf("FileNotFoundError: [Errno 2] No such file or directory: '%s'", nodes)
		}
	}
	return nil
}

// log writes a message if its level is loud enough, to the stream that it
// belongs to.
func (p *process) log(level, text string) {
	for _, line := range comfytest.LogLines(p.sim.version, level, text) {
		p.logLine(level, line)
	}
}

func (p *process) logLine(level, line string) {
	least := "INFO"
	if p.has("--verbose") {
		least = "DEBUG"
		if v := p.value("--verbose"); v != "" {
			least = v
		}
	}
	if slices.Index(levels(), level) < slices.Index(levels(), least) {
		return
	}
	out := os.Stderr
	if p.has("--log-stdout") && slices.Index(levels(), level) < slices.Index(levels(), "ERROR") {
		out = os.Stdout
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(out, line)
}

// serve listens and answers until the process has to end.
func (p *process) serve() int {
	listeners, err := p.listen()
	if err != nil {
		return p.cannotListen(err)
	}
	for i, l := range listeners {
		listeners[i] = p.lines.listen(l)
	}
	comfy := comfytest.New(p.config())
	server := &http.Server{Handler: comfy}
	for _, l := range listeners {
		go func() { _ = server.Serve(l) }()
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	if !p.has("--dont-print-server") {
		for _, l := range listeners {
			p.log("INFO", "To see the GUI go to: http://"+l.Addr().String())
		}
	}
	ending := p.ending()
	for {
		select {
		case <-interrupts:
			comfy.Interrupt()
		case <-ending:
			p.end(p.sim.act.code())
		}
	}
}

// ending fires when the act ends a ready process.
func (p *process) ending() <-chan time.Time {
	if !p.sim.act.Ready || p.sim.act.Exit == nil && p.sim.act.Signal == 0 {
		return nil
	}
	after, _ := durationOf(p.sim.act.After, 0)
	return time.After(after)
}

func (a act) code() (int, syscall.Signal) {
	if a.Exit != nil {
		return *a.Exit, 0
	}
	return -1, syscall.Signal(a.Signal)
}

func (p *process) config() comfytest.Config {
	cfg := comfytest.Config{
		Version:   p.sim.version,
		Dir:       p.dir,
		OutputDir: p.value("--output-directory"),
		InputDir:  p.value("--input-directory"),
		Argv:      append([]string{"main.py"}, p.args...),
		NoCache:   p.has("--cache-none"),
		Previews:  p.has("--preview-method") && p.value("--preview-method") != "none",
		StepDelay: orNone(p.sim.step),
		Teardown:  orNone(p.sim.down),
		Faults:    p.sim.faults,
		Exit:      p.end,
		Record:    p.record,
		Real:      &comfytest.RealProcess{Log: p.logLine, Environ: os.Environ, Print: p.print, Fork: fork, Reboot: p.reboot, Spoil: p.lines.spoil},
	}
	if d := p.value("--temp-directory"); d != "" {
		cfg.TempDir = filepath.Join(d, "temp")
	}
	cfg.CacheLRU, _ = strconv.Atoi(p.value("--cache-lru"))
	if mb, err := strconv.ParseFloat(p.value("--max-upload-size"), 64); err == nil {
		cfg.MaxBody = int64(mb * (1 << 20))
	}
	return cfg
}

// orNone turns a zero duration into one that the simulator does not replace
// by its default.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// listen binds every address that --listen names.
func (p *process) listen() ([]net.Listener, error) {
	addresses := "127.0.0.1"
	if p.has("--listen") {
		addresses = "0.0.0.0,::"
		if v := p.value("--listen"); v != "" {
			addresses = v
		}
	}
	port := "8188"
	if v := p.value("--port"); v != "" {
		port = v
	}
	var all []net.Listener
	for address := range strings.SplitSeq(addresses, ",") {
		network := "tcp4"
		if strings.Contains(address, ":") {
			network = "tcp6"
		}
		l, err := net.Listen(network, net.JoinHostPort(address, port))
		if err != nil {
			if address == "::" && len(all) > 0 {
				continue // a host without IPv6
			}
			return nil, fmt.Errorf("%s:%s: %w", address, port, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// cannotListen tells why and ends like Python does, after the teardown.
func (p *process) cannotListen(err error) int {
	address, port, _ := strings.Cut(err.Error(), ":")
	port, _, _ = strings.Cut(port, ":")
	n, _ := strconv.Atoi(port)
	switch {
	case n > 65535:
		fmt.Fprintln(os.Stderr, "OverflowError: bind(): port must be 0-65535.")
	case newer(p.sim.version):
		p.log("ERROR", fmt.Sprintf("Port %s is already in use on address %s. Please close the other application or use a different port with --port.", port, address))
	default:
		fmt.Fprintf(os.Stderr, "Traceback (most recent call last):\nOSError: [Errno 98] error while attempting to bind on address ('%s', %s): [errno 98] address already in use\n", address, port)
	}
	<-time.After(p.sim.down)
	return 1
}

// end is the death of the process: by an exit code, or by a signal that it
// sends itself.
func (p *process) end(code int, sig syscall.Signal) {
	if sig != 0 {
		dieBy(sig)
	}
	os.Exit(code)
}

func (p *process) print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Print(text)
}

// record appends an execution to the ledger file, so that it outlives us.
func (p *process) record(e comfytest.Execution) {
	if p.sim.ledger == "" {
		return
	}
	f, err := os.OpenFile(p.sim.ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	_ = json.NewEncoder(f).Encode(e)
}
