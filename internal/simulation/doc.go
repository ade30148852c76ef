// Package simulation runs the core of comfyvisor, from the intake of a job to
// the end of the pod, in virtual time against peers in memory. It has tests and
// nothing else; no program imports it.
//
// One run is one bubble of testing/synctest: a queue with its ledger
// (runpodtest), ComfyUIs (comfytest) behind the supervisor's seam for starting a
// process, an S3, and a platform that replaces pods. Everything between them is
// the program's own code: supervisor, health, worker, comfy, runpod, s3store. All
// bytes go over wires in memory that have a latency, and that can be cut, go dark
// or refuse.
//
// A seed decides a plan: the jobs, the faults with their moments, and the
// configuration. Half of the kinds of faults are switched off in each run. At the
// end all faults are taken back, every job has to come to its end, and the ledgers
// of the queue, of ComfyUI and of S3 are the truth by which the run is judged.
//
// Virtual time and the seed do not decide everything: the Go scheduler, the
// choice of a select, and the program's own jitter differ from run to run of the
// same seed. So a seed is played several times before it counts as harmless. A
// plan that failed is made smaller, job by job and fault by fault, and printed as
// the command that plays what is left of it.
//
// docs/reliability.md tells what is asserted and what was found.
package simulation
