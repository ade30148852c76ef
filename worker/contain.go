package worker

import (
	"fmt"
	"runtime/debug"

	"go.uber.org/zap"
)

// A panic in any goroutine ends the program, and with PID 1 the whole container.
// So every goroutine of this package, unless it calls nothing that could panic,
// is contained, or catches its panic and gives it to the one that waits for it.

// contained runs f and returns an error that wraps errPanic if it panics, which is
// then logged with its stack.
func contained(log *zap.Logger, what string, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic while "+what, zap.Any("panic", p), zap.ByteString("stack", stackOf(p)))
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	f()
	return nil
}

// touched is what a call came to.
type touched[T any] struct {
	value T
	err   error
	panic *relayed
}

func caught[T any](f func() (T, error)) (r touched[T]) {
	defer func() {
		if p := recover(); p != nil {
			r.panic = &relayed{p, debug.Stack()}
		}
	}()
	r.value, r.err = f()
	return r
}

// result is what the call returned. What it panicked with, result does.
func (r touched[T]) result() (T, error) {
	if r.panic != nil {
		panic(*r.panic)
	}
	return r.value, r.err
}

// relayed is a panic of another goroutine.
type relayed struct {
	value any
	stack []byte
}

func (r relayed) String() string { return fmt.Sprint(r.value) }

// stackOf is where the panic p, which was just recovered, came from.
func stackOf(p any) []byte {
	if r, ok := p.(relayed); ok {
		return r.stack
	}
	return debug.Stack()
}
