package main

import (
	"runtime/debug"

	"github.com/comfyvisor/comfyvisor/supervisor"
)

// leastMemory is less than we ever need: a lower limit would only keep the
// garbage collector busy.
const leastMemory = 32 << 20

// ownMemory is the share of the container's memory, in bytes, from which on our
// garbage collector runs as often as it can: the rest is for ComfyUI.
func ownMemory(container uint64) int64 { return max(int64(container/8), leastMemory) }

// limitMemory keeps the garbage collector to our share, where the container has
// a limit and GOMEMLIMIT does not set another.
func limitMemory(environ []string) {
	if _, container := supervisor.Memory("/"); container > 0 && lookup(environ, "GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(ownMemory(container))
	}
}
