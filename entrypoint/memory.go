package main

import (
	"context"
	"os"
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

// oomScoreAdj makes the kernel's out-of-memory killer take ComfyUI rather than
// us, if one of the two has to go.
const oomScoreAdj = 500

// decoys is how many processes go before us. Where all processors are busy and a page
// is asked for all the time, the kernel took us after one in some 25 kills with one
// decoy, and in some 750 with two. Each has 1.6 MB of its own.
const decoys = 3

// decoy keeps the killer from us in the moments in which ComfyUI has been killed
// and its memory is not free yet.
func (p *pod) decoy(ctx context.Context) error {
	return p.reaper.Decoys(ctx, decoys, oomScoreAdj, "/proc/self/exe", decoyCommand)
}

// decoyCommand makes the program a decoy, for itself only.
const decoyCommand = "decoy"

// beDecoy does nothing until the parent has gone.
func beDecoy() int {
	_, _ = os.Stdin.Read(make([]byte, 1)) // nothing is ever written
	return exitDone
}
