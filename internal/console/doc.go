// Package console is a page on which people see their pod work: what ComfyUI
// does and why, what is in use, each job with its progress and what it made,
// and the log.
//
//	GET /                       the page
//	GET /console/FILE           its styles and scripts; nothing of the pod's
//	GET /console/events         what happens, as server-sent events
//	GET /console/preview?job=ID the latest picture of a job's unfinished work
//
// [Console.Run] reads the bus and keeps what a page has to show that opens only
// now: the state of each ComfyUI, how the last ones ended, samples of memory,
// the end of the log. Everything that changes it becomes a message in one ring,
// which all watchers read at their own pace:
//
//	bus ─► model ─► ring ─► watcher
//	                    └─► watcher
//
// A watcher begins with a snapshot and goes on with messages. One that comes
// back names the last message that it has seen and goes on from there. One that
// has fallen behind the ring, or comes back too late, is told so and begins
// anew. Nobody waits for a watcher.
//
// Jobs are submitted, listed and fetched over the local API, on which the
// handler is mounted. That also asks for the token, for whatever shows anything of
// the pod: what has no extension, but for the page itself.
package console
