package health

import (
	"context"
	"time"
)

// A Probe asks one question and returns nil if the answer is good.
type Probe func(ctx context.Context) error

// Config says how a Monitor judges. Durations that are 0 take the defaults
// named here.
type Config struct {
	// Probe asks ComfyUI for an answer. It must end when its context does.
	Probe Probe
	// Prepare runs between the first good probe and the opening of the gate,
	// such as a warm-up. Its error keeps the gate closed and ends Watch.
	Prepare Probe
	// Activity changes whenever the process shows a sign of life. Nil means
	// that probes are the only sign.
	Activity func() uint64
	// Voice changes whenever ComfyUI itself says something: a line of output, an
	// answer, an event. Nil means that probes are all that it answers.
	Voice func() uint64
	// Progress changes when a starting process gets on: it has written something or
	// read more of a disk. Nil means Voice.
	Progress func() uint64
	// Ready is called when the gate has opened, at most once per Watch for
	// each boot seen. It may be nil.
	Ready func(boot time.Duration)

	// BootInterval is the time between two probes of a process that listens
	// but gives no good answer yet; 50 ms. While nothing listens the probe
	// costs next to nothing and is repeated each 5 ms, so that the first job
	// waits for ComfyUI and not for us.
	BootInterval time.Duration
	// BootTries ends a boot after that many probes, each BootInterval apart;
	// 0 means no limit.
	BootTries int
	// BootLimit ends a boot that makes no Progress for that long, however busy
	// the process is, and any boot after six times that; 10 min.
	BootLimit time.Duration
	// BootStall ends a boot that shows no sign of life for that long; 3 min.
	BootStall time.Duration
	// LiveInterval is the time between two probes of a ready process; 5 s.
	LiveInterval time.Duration
	// LiveFails and LiveSilence must both be reached to give a ready process
	// up: so many failed probes in a row, and no other sign of life for so
	// long; 6 and 2 min.
	LiveFails   int
	LiveSilence time.Duration
	// LiveLimit gives a ready process up whose probes fail and which has said
	// nothing for so long, however busy it is; 15 min.
	LiveLimit time.Duration
}

const (
	refusedInterval  = 5 * time.Millisecond
	bootProbeTimeout = 2 * time.Second
	liveProbeTimeout = 5 * time.Second
)

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&c.BootInterval, 50*time.Millisecond)
	set(&c.BootLimit, 10*time.Minute)
	set(&c.BootStall, 3*time.Minute)
	set(&c.LiveInterval, 5*time.Second)
	set(&c.LiveSilence, 2*time.Minute)
	set(&c.LiveLimit, 15*time.Minute)
	if c.LiveFails == 0 {
		c.LiveFails = 6
	}
	none := func() uint64 { return 0 }
	if c.Activity == nil {
		c.Activity = none
	}
	if c.Voice == nil {
		c.Voice = none
	}
	if c.Progress == nil {
		c.Progress = c.Voice
	}
	return c
}
