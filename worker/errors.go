package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/comfyvisor/comfyvisor/internal/comfy"
	"github.com/comfyvisor/comfyvisor/internal/job"
)

// Why a job's context ends.
var (
	errCanceled = errors.New("the job was canceled")
	errShutdown = errors.New("the worker is shutting down")
)

var (
	errPanic   = errors.New("a fault in comfyvisor itself")
	errTooMany = errors.New("the workflow made too many files")
)

// timeoutError says that a job used up its time.
type timeoutError struct {
	limit   time.Duration
	reached job.Progress // how far it had come, nothing if it had not begun
}

func (e *timeoutError) Error() string {
	text := fmt.Sprintf("the job took longer than its limit of %v", e.limit)
	if e.reached.Node == "" {
		return text
	}
	text += fmt.Sprintf("; it had come to %.0f %%, at node %s (%s)", e.reached.Percent, e.reached.Node, e.reached.Class)
	if e.reached.Steps > 0 {
		text += fmt.Sprintf(", step %d of %d", e.reached.Step, e.reached.Steps)
	}
	return text
}

// lostError says that the ComfyUI which ran the attempt is no more, or knows
// nothing of it: nothing that the job did.
type lostError struct{ reason error }

func (e *lostError) Error() string {
	return "ComfyUI was lost while it ran the job: " + e.reason.Error()
}
func (e *lostError) Unwrap() error { return e.reason }

// uploadError says that an input could not be given to ComfyUI.
type uploadError struct {
	name string
	err  error
}

func (e *uploadError) Error() string { return fmt.Sprintf("upload input file %q: %v", e.name, e.err) }
func (e *uploadError) Unwrap() error { return e.err }

// outputError says that an output could not be read.
type outputError struct {
	name string
	err  error
}

func (e *outputError) Error() string { return fmt.Sprintf("read output %q: %v", e.name, e.err) }
func (e *outputError) Unwrap() error { return e.err }

func isLost(err error) bool {
	var lost *lostError
	return errors.As(err, &lost)
}

// isConnection tells whether ComfyUI could not be talked to, as opposed to its
// answering something.
func isConnection(err error) bool {
	var op net.Error
	var slow interface{ Timeout() bool } // no answer within a limit of the client's own
	return errors.As(err, &op) || errors.As(err, &slow) && slow.Timeout() || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, context.DeadlineExceeded) || isEOF(err)
}

// isServerFault tells whether ComfyUI answered that it has a fault of its own.
func isServerFault(err error) bool {
	var answer *comfy.HTTPError
	return errors.As(err, &answer) && answer.Status >= 500
}
