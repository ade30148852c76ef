package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfytest"
)

// A simulation is what the environment says about this incarnation.
type simulation struct {
	version string
	boot    time.Duration
	step    time.Duration
	down    time.Duration
	faults  comfytest.Faults
	ledger  string // file to append executions to, "" for none
	act     act
}

// An act is what one start of the program does out of the ordinary. The
// script is a list of them, and each start plays the next; after the last all
// starts are ordinary.
type act struct {
	// Boot replaces the boot time; Hang never gets to listen.
	Boot string `json:"boot"`
	Hang bool   `json:"hang"`
	// Exit and Signal end the process, After into the boot, or After into
	// readiness if Ready is set.
	Exit   *int   `json:"exit"`
	Signal int    `json:"signal"`
	After  string `json:"after"`
	Ready  bool   `json:"ready"`
	// Print goes to the standard error stream while booting.
	Print string `json:"print"`
	// Faults are in force from readiness on.
	Faults comfytest.Faults `json:"faults"`
}

func simulationFromEnv() (simulation, error) {
	sim := simulation{version: os.Getenv("SIMCOMFY_VERSION"), ledger: os.Getenv("SIMCOMFY_LEDGER")}
	if sim.version == "" {
		sim.version = comfytest.V0364
	}
	var errs []error
	duration := func(name string, otherwise time.Duration) time.Duration {
		d, err := durationOf(os.Getenv(name), otherwise)
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %w", name, err))
		}
		return d
	}
	sim.boot = duration("SIMCOMFY_BOOT", 150*time.Millisecond)
	sim.step = duration("SIMCOMFY_STEP", 20*time.Millisecond)
	sim.down = duration("SIMCOMFY_TEARDOWN", 250*time.Millisecond)
	if text := os.Getenv("SIMCOMFY_FAULTS"); text != "" {
		if err := json.Unmarshal([]byte(text), &sim.faults); err != nil {
			errs = append(errs, fmt.Errorf("read SIMCOMFY_FAULTS: %w", err))
		}
	}
	if script := os.Getenv("SIMCOMFY_SCRIPT"); script != "" {
		var err error
		if sim.act, err = nextAct(script); err != nil {
			errs = append(errs, fmt.Errorf("read SIMCOMFY_SCRIPT: %w", err))
		}
		sim.faults = append(sim.faults, sim.act.Faults...)
	}
	var err error
	if sim.boot, err = durationOf(sim.act.Boot, sim.boot); err != nil {
		errs = append(errs, fmt.Errorf("read boot of act: %w", err))
	}
	return sim, errors.Join(errs...)
}

func durationOf(text string, otherwise time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	return time.ParseDuration(text)
}

// nextAct returns the act of this start, and counts it in a file beside the
// script.
func nextAct(script string) (act, error) {
	data, err := os.ReadFile(script)
	if err != nil {
		return act{}, err
	}
	var acts []act
	if err := json.Unmarshal(data, &acts); err != nil {
		return act{}, err
	}
	counter := script + ".count"
	text, err := os.ReadFile(counter)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return act{}, err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if err := os.WriteFile(counter, []byte(strconv.Itoa(n+1)), 0o644); err != nil {
		return act{}, err
	}
	if n >= len(acts) {
		return act{}, nil
	}
	return acts[n], nil
}
