// Package supervisor keeps one process running: it starts it, watches it, starts
// it again when it ends, stops it with everything that came of it, and relays
// its output. It knows processes and nothing of what they are for.
//
//	reaper := supervisor.NewReaper(log)                      // first of all
//	sup := supervisor.New(supervisor.Config{Path: …, Watch: …}, reaper, log)
//	go reaper.Run(ctx)
//	err := sup.Run(ctx)                                      // until ctx ends
//
// # Incarnations
//
// An incarnation is one run of the process, from start to exit. Config.Watch
// runs beside each of them, with a context that ends when that very process has
// exited and whose cause is the [Exit]. An error from Watch means that the
// process is alive but no good, and has it stopped and started again. Watch
// calls [Supervisor.Ready] when the process is ready for work, and whoever
// finishes a job calls [Supervisor.Worked]: the policy asks for both.
//
// # States
//
// One goroutine, that of [Supervisor.Run], changes the state. Others send it a
// wish or read a copy.
//
//	from         to           when
//	stopped      running      Run has started the process
//	stopped      backoff      it could not be started, and another try may help
//	stopped      failed       it can never be started
//	running      terminating  Restart, an error from Watch, or the end of the context: SIGTERM to the group
//	running      killing      Hurry: SIGKILL to the group
//	running      backoff      it exited
//	running      stopped      it exited, and the context ended before it was cleared away
//	running      failed       it exited in a crash loop, or left something that cannot be killed
//	terminating  killing      the grace is over, or Hurry
//	terminating  backoff      it exited, and is to be started again
//	terminating  stopped      it exited, and the context has ended
//	terminating  failed       it exited, as in running
//	killing      backoff      it exited, and is to be started again
//	killing      stopped      it exited, and the context has ended
//	killing      failed       it did not exit, or it exited as in running
//	backoff      running      the wait is over, or Restart
//	backoff      backoff      it could not be started, and another try may help
//	backoff      stopped      the context has ended
//	backoff      failed       it can no longer be started, or never gets ready
//
// A start that does not succeed counts as an exit. [Policy] decides from the
// exits how long to wait and when to give up: a process that gets ready is
// started again for ever, ever more slowly if it dies soon; one that never gets
// ready is given up after a few tries.
//
// # What came of the process
//
// The process is the leader of a process group, and signals go to the group.
// After its end, whatever is left is killed before anything else is started:
// its group, and the orphans that the [Reaper] was given by the
// kernel, with their descendants. Orphans that carry the environment of somebody
// else (a shell that was opened in the container, another instance) are left
// alone; what the process starts inherits a mark, COMFYVISOR_INSTANCE. What
// survives SIGKILL hangs in the kernel, and nothing is started beside it.
//
// Config.Port, which the process is going to listen on, has to be free before a
// start, for which that waits a little; and [Supervisor.CheckPort] tells whether
// what listens there came of the process, so that nobody takes something else
// for it.
//
// # Output
//
// Each incarnation has two pipes, which are read without ever waiting for the
// reader of the lines. Lines that come too fast are dropped and counted, and the
// last ones are kept for the Exit.
//
// # What it leaves to others
//
// Signals to this program, the environment of the process, exit codes and what
// the lines contain (secrets too) are the caller's concern. The caller also
// starts nothing by itself: [Reaper.Output] runs a command for it, so that its
// status is not taken for an orphan's.
package supervisor
