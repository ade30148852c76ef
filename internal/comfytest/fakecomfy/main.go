package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childFlag {
		child(os.Args[2:])
		return
	}
	// PID 1 has no default action for SIGTERM, and import torch leaves a
	// handler for SIGHUP behind.
	signal.Ignore(syscall.SIGHUP)
	if os.Getpid() == 1 {
		signal.Ignore(syscall.SIGTERM)
	}
	os.Exit(run(os.Args[1:]))
}

// run is the whole life of the process, up to its exit code.
func run(args []string) int {
	sim, err := simulationFromEnv()
	if err != nil {
		fmt.Fprintf(os.Stderr, "fakecomfy: %v\n", err)
		return 64
	}
	given, err := parseFlags(sim.version, args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%smain.py: error: %v\n", usage(sim.version), err)
		return 2
	}
	if given["--help"] != nil || given["-h"] != nil {
		fmt.Print(usage(sim.version))
		return 0
	}
	p := newProcess(sim, given, args)
	if err := p.checkDirectories(); err != nil {
		fmt.Fprintf(os.Stderr, "Traceback (most recent call last):\n%v\n", err)
		return 1
	}
	var exit exitError
	err = p.boot()
	switch {
	case errors.As(err, &exit):
		return int(exit)
	case err != nil:
		p.log("CRITICAL", err.Error())
		return 1
	}
	return p.serve()
}

// An exitError ends the process with a code.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }
