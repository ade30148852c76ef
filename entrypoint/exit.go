package main

import (
	"context"
	"errors"
)

// The exit codes. Not among them are 1, except for a job that was run from a
// file, and 2, with which the Go runtime ends on a panic.
const (
	exitDone      = 0
	exitJobFailed = 1
	exitNoGPU     = 69
	exitInternal  = 70
	exitGaveUp    = 75
	exitConfig    = 78
	exitCanceled  = 130
	exitAbandoned = 143
)

// exitCodes explains the codes to users.
var exitCodes = []struct {
	code    int
	meaning string
}{
	{exitDone, "stopped with no job left behind, or ended after a job because of REFRESH_WORKER"},
	{exitJobFailed, "comfyvisor run, submit: the job failed; healthcheck, status: not ready; doctor: something is wrong; any other command: it could not be done"},
	{exitNoGPU, "refused to start: the host has no usable GPU"},
	{exitInternal, "a fault in comfyvisor itself"},
	{exitGaveUp, "ComfyUI never became ready, keeps crashing, or cannot be killed; or the pod cannot do jobs, because its disk stays full for instance"},
	{exitConfig, "the configuration is wrong; every fault of it is named"},
	{exitCanceled, "comfyvisor submit: canceled by Ctrl-C"},
	{exitAbandoned, "a job had to be abandoned at SIGTERM, and was reported as failed"},
}

// An exitError is an error that decides on the exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitWith makes err end the program with code. It returns nil for nil.
func exitWith(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

// exitCode returns the code for what ended the program. That it was told to stop
// (the context ended) is no fault; an error that nobody gave a code is one of
// ours.
func exitCode(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, context.Canceled):
		return exitDone
	}
	return exitInternal
}
