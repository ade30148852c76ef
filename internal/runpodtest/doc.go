// Package runpodtest is a simulated RunPod queue for tests, as httptest is to
// net/http. It speaks the worker protocol, breaks it on request, and keeps a
// ledger of what really happened, against which a worker is judged.
//
// A [Queue] is an http.Handler that keeps its time by the time package alone, so
// it works in a synctest bubble. A [Server] is a Queue that listens: on loopback
// by [NewServer], or in memory by [NewPipeServer].
//
//	q := runpodtest.NewPipeServer(t, runpodtest.Config{Hold: time.Minute})
//	q.Submit("job-1", `{"workflow": {}}`)
//	q.Inject(runpodtest.Fault{Call: runpodtest.Done, Act: true, Cut: true})
//	... run a worker with q.Env() and q.Dial ...
//	outcome, err := q.Wait(ctx, "job-1")
//	err = q.Check()
//
// [Queue.Check] names each job that was lost, finished more often than a lost
// answer can excuse, given another job's result, completed with nothing, or
// told of progress after its end.
package runpodtest
