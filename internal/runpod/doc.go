// Package runpod speaks RunPod's worker protocol: the six calls by which a pod
// takes jobs from a queue and returns their results. Any server with the same
// calls will do; Waverless is one.
//
//	take       GET   a long poll; the answer is a job, a list of jobs, or nothing
//	stop       GET   a long poll; the answer names jobs that the caller gave up
//	heartbeat  GET   every few seconds, with the ids of the jobs in progress
//	progress   POST  to the job's result URL, marked IN_PROGRESS
//	stream     POST  previews of a job's unfinished work
//	result     POST  to the job's result URL, once
//
// A [Client] hides all of it behind Take, Progress and Done, which the worker
// calls, and Run, which sends the heartbeat, listens on the stop channel and
// posts what needs no answer. It promises:
//
//   - A job that was handed out is never dropped in silence. It is returned by
//     Take, answered with an explicit failure if it cannot be read, or (when its
//     answer broke on the way) missing from the heartbeat, so that the queue
//     hands it out again. A poll that is open when the worker stops is read on
//     for a moment.
//   - A job runs once. Handed out twice at a time it is returned once; handed
//     out again after its end it is answered from memory.
//   - A result is posted until the queue has it: through outages of minutes, and
//     with the same bytes each time. If the queue refuses it for good, a small
//     failure goes out instead, because a job whose last post was refused shows
//     as completed and empty.
//   - Nothing follows a result: progress stops before it is sent.
//   - A queue in trouble is asked gently and named in the log once.
//
// The credentials and the URLs, which carry authority in their paths, appear in
// no error and in no log line; of a URL only scheme and host are told.
package runpod
