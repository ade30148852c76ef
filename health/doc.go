// Package health answers one question: may this pod take work?
//
// A [Gate] holds the answer. It is closed, with a reason, until ComfyUI is
// ready, and whoever waits at it learns when that changes. A [Monitor] is run
// beside each incarnation of ComfyUI and works the gate:
//
//	incarnation starts   gate closed: "booting"
//	first good probe     warm-up, then the gate opens
//	probes go on         one that fails alone changes nothing
//	no sign of life      Watch returns an error, the gate closes: alive but no good
//	process exits        Watch's context ends, the gate closes with the exit as its reason
//
// A sign of life is an answered probe, or a change of the activity counter
// (log output, processor time, disk reads): loading a model holds Python's
// interpreter lock for a minute, in which ComfyUI answers nothing and is well.
// What uses the processor for a quarter of an hour and neither answers nor
// writes anything in all that time is given up all the same: something in it is
// busy, and it is not ComfyUI.
//
// A start takes as long as it gets on, which is to say writes lines or reads from
// the disk. One that only keeps the processor busy is given up after ten minutes
// of that, one that shows no sign of life after three, and any after an hour.
//
// [Preflight] asks once, beside ComfyUI's own start, whether the host can do
// the work at all.
//
// The package knows probes and no processes: it neither starts nor ends
// anything. Being given up by Watch is what makes the supervisor restart.
package health
