// Package localapi serves RunPod's job API on an address of our own, so that
// clients written for a serverless endpoint work against one machine. To the
// worker it is a source of jobs like RunPod's queue: [Server.Take] hands jobs
// out in the order they came, [Server.Progress] and [Server.Done] bring back
// what became of them.
//
// Every route is served at the root and below /v2/{endpoint}/:
//
//	POST     /run           queue a job, answer at once
//	POST     /runsync       queue a job, answer when it ends or after ?wait= ms
//	GET POST /status/{id}   the job as it stands, with its output when it is done
//	GET POST /status-sync/{id}   the same, when it ends or after ?wait= ms
//	GET POST /stream/{id}   the progress collected since the last such request
//	POST     /cancel/{id}   give a job up, queued or running
//	POST     /retry/{id}    queue a FAILED or TIMED_OUT job again, same id
//	POST     /purge-queue   cancel every queued job
//	GET      /health        counts of jobs and the state of the worker
//	GET      /ping          200 ready, 204 not yet; for load balancers
//
// Beside these there are, at the root alone, for the page and for people:
//
//	GET  /jobs?limit=&before=&status=   all jobs, the newest first
//	GET  /jobs/{id}             a job with its input and all that is known of it
//	DELETE /jobs/{id}           give it up, as cancel does
//	GET  /jobs/{id}/files/{n}   the bytes of one of its files
//	POST /restart               a new ComfyUI, between two jobs or at once
//	POST /login, /logout        a cookie that stands for the token
//	GET  /, /console/           the page
//
// The states of a job, and what moves it from one to the next:
//
//	             Take             Done
//	IN_QUEUE ──────────▶ IN_PROGRESS ─────────▶ COMPLETED
//	 │ │ │ ▲                │  │ └────────────▶ FAILED ────┐
//	 │ │ │ │                │  └──────────────▶ TIMED_OUT ─┤
//	 │ │ │ └─ retry ────────┼──────────────────────────────┘
//	 │ │ └─── cancel, purge ┴─ cancel ────────▶ CANCELLED
//	 │ └───── ttl is over ────────────────────▶ TIMED_OUT
//	 └─────── shutdown ───────────────────────▶ FAILED
//
// In a directory that can be written to, the journal keeps every record, with a
// file for each result. Nobody is told of a change before it is on the disk. So
// an end of the process, in order or not, is no shutdown for those jobs: what was
// queued stays so, what was running is queued again, and only a job whose client
// waits in runsync is FAILED when the process is stopped, since the client is
// told so. A job that is running at three sudden ends is FAILED, because it may be
// what causes them. What cannot be written is kept in memory meanwhile. Inputs
// may have keys in them: the file is for its owner alone.
//
// A result that arrives for a cancelled job is dropped. A client that goes away
// from runsync cancels nothing: the job goes on and is found by its id.
//
// The [store] owns every record and is the only one that changes a state.
// Results go to files in the spool directory and are streamed from there, so
// that memory does not grow with their size. Everything that clients can pile
// up has a bound in [Config]: connections, body sizes, queued jobs and their
// inputs, finished jobs and their results. What exceeds a bound is refused with
// a status that says which (413, 429), or is forgotten, oldest first: an id
// that was known and is not kept any more answers 410, any other 404.
//
// The webhook of a job is told its end up to three times, ten seconds apart.
//
// Other web sites in the user's browser are kept out: a foreign Origin is
// refused, a name in Host that is not one of ours is refused, and a body has to
// be JSON. Because curl -d calls its JSON a form unless told otherwise, that
// one content type passes too, but never from a browser, which would send an
// Origin with it. No cross-origin header is ever sent. The cookie counts for
// requests of our own page only.
package localapi
