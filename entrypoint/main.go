// Comfyvisor is the first process of a pod that serves ComfyUI workflows as an
// API. It starts ComfyUI and keeps it running, takes jobs only while ComfyUI
// can do them, delivers what they make, and stops everything in order.
//
// This package reads the environment, wires the parts together, and turns what
// ended the program into an exit code. docs/configuration.md lists the
// environment variables, comfyvisor --help prints them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/comfyvisor/comfyvisor/internal/nodeinfo"
	"github.com/comfyvisor/comfyvisor/internal/secret"
	"github.com/comfyvisor/comfyvisor/internal/status"
	"github.com/comfyvisor/comfyvisor/supervisor"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(obey(os.Args[1:])) }

// obey does what the command line says and returns the exit code.
func obey(args []string) int {
	if len(args) == 1 && args[0] == decoyCommand {
		return beDecoy()
	}
	environ, warning := hideSecrets() // may replace the program by itself
	if len(args) > 0 && clientCommands[args[0]] != nil {
		return ask(environ, args[0], args[1:])
	}
	if len(args) == 2 && args[0] == "help" && clientCommands[args[1]] != nil {
		return ask(environ, args[1], []string{"--help"})
	}
	switch {
	case len(args) == 0:
		return serve(environ, warning, "")
	case len(args) == 2 && args[0] == "run":
		return serve(environ, warning, args[1])
	case len(args) == 2 && args[0] == "doctor" && args[1] == "--json":
		return examine(environ, true)
	case len(args) > 1:
		return misused(args)
	}
	switch args[0] {
	case "doctor":
		return examine(environ, false)
	case "healthcheck":
		return healthcheck(environ)
	case "version", "--version":
		fmt.Println(version)
		return exitDone
	case "help", "--help", "-h":
		return report(writeHelp(os.Stdout))
	}
	return misused(args)
}

func misused(args []string) int {
	meant := ""
	if near := nodeinfo.Near(args[0], commandNames()); len(near) > 0 {
		meant = "did you mean comfyvisor " + near[0] + "? "
	}
	return report(exitWith(exitConfig, fmt.Errorf("comfyvisor does not know %q; %scomfyvisor --help lists what it knows", strings.Join(args, " "), meant)))
}

// report tells people what ended the program and returns the exit code.
func report(err error) int {
	code := exitCode(err)
	if code != exitDone {
		fmt.Fprintln(os.Stderr, "comfyvisor:", err)
	}
	return code
}

// serve runs the pod until it is told to stop, or has to. With a file it runs
// the one job in it.
func serve(environ []string, warning error, file string) int {
	// PID 1 has no default signal actions: signals are taken before anything is
	// started, and kept for the whole life of the process.
	signals := catchSignals()

	cfg, err := configFromEnv(environ)
	if err != nil {
		return report(exitWith(exitConfig, fmt.Errorf("the configuration has faults:\n%w", err)))
	}
	if file == "" {
		file, err = jobFile(cfg)
		if err != nil {
			return report(err)
		}
	}
	limitMemory(environ)
	scrub := new(secret.Scrubber)
	scrub.Add(cfg.secretValues()...)
	out := os.Stdout
	if file != "" {
		out = os.Stderr // stdout is for the result
	}
	metrics := status.NewMetrics(version)
	log, flush := newLogger(cfg.Log, out, scrub, metrics.LogDropped)
	defer flush()
	if warning != nil {
		log.Warn("secrets are less hidden than they could be", zap.Error(warning))
	}
	var warming sync.WaitGroup
	warming.Go(func() { supervisor.Prewarm(prewarmedThreads) }) // beside ComfyUI's start
	defer warming.Wait()
	p, err := newPod(cfg, environ, file, scrub, metrics, log)
	if err == nil {
		err = p.run(signals)
	}
	code := exitCode(err)
	if code != exitDone {
		log.Error("comfyvisor ends", zap.Error(err), zap.Int("code", code))
	} else {
		log.Info("comfyvisor ends", zap.Int("code", code))
	}
	return code
}

// prewarmedThreads is how many threads are created at the start: where the
// container's process limit is used up, Go could not create one later and would
// end the program.
const prewarmedThreads = 24

// jobFile is the job to run when there is neither a queue nor the local API: the
// SDK's test_input.json, if the working directory has one.
func jobFile(cfg Config) (string, error) {
	if cfg.servesAPI() || !cfg.Queue.TakeURL.Empty() {
		return "", nil
	}
	const name = "test_input.json"
	if _, err := os.Stat(name); err == nil {
		return filepath.Abs(name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", exitWith(exitConfig, err)
	}
	return "", exitWith(exitConfig, errors.New("there is nowhere to take jobs from: set SERVE_API_LOCALLY=true for the local API, "+
		"or let RunPod set RUNPOD_WEBHOOK_GET_JOB; one job in a file runs with: comfyvisor run FILE"))
}

// stopped tells whether err only says that somebody was told to stop.
func stopped(err error) bool { return errors.Is(err, context.Canceled) }
