// Package worker takes jobs from a [Source] and does them through ComfyUI.
//
//	take -> prepare (validate, download and upload inputs) -> execute (prompt, events, history)
//	     -> deliver (collect outputs, inline or to a Store) -> done
//
// Work is done in lanes. A lane belongs to a [Slot], which is one ComfyUI with
// its gate. It asks for a job only while that gate is open, carries the job to
// the end of its execution, hands it to a delivery that goes on beside the next
// job, and asks again, at the moment when ComfyUI tells that the prompt has succeeded,
// so that the next job comes while the outputs of the last are found. A delivery lets
// the prompt of a job that has come already go first, since large files would keep the
// processors from it. With prefetch a slot has two lanes, so that the next prompt
// already stands in ComfyUI's own queue when the last one ends.
//
// Before anything is sent, a workflow is compared with what ComfyUI says of its
// nodes, which is learnt once per incarnation: one that ComfyUI is bound to
// refuse fails at once. Package nodeinfo tells which those are.
//
// What can go wrong with a job is decided in one place, blame, which says who
// can mend it and what to do next. Only an infrastructure death, the end of the
// very ComfyUI that ran the job, makes the worker run it once more, on the next
// incarnation or on another slot, whichever is free first; a job's own error
// never does.
//
// A process that works may be replaced all the same ([Wear]), between two jobs,
// and one that has just started may be made to run an input that nobody waits
// for ([Worker.Warm]). One whose execution stands still is condemned.
//
// Every attempt has a folder of its own below ComfyUI's output directory and
// input names of its own, both made from the prompt id, which is made from the
// job's id and the attempt. So no job finds another's files, ComfyUI's cache
// never answers with files that are gone, and everything can be removed when
// the result has arrived.
//
// Before an attempt the filesystems of these directories are asked for free space.
// Where it is short, old leftovers are removed, as they are when the worker starts
// (what jobs at hand use is kept young for other pods' sake), and if that does not help the job
// fails as disk_full. A slot whose disk is full gets no job until there is room;
// one that fails several jobs in a row by no fault of theirs gets a rest, longer each
// time. If that does not help it is given up ([Fitness]): a pod that fails whatever
// it takes would else empty the queue. A directory may lie on a network volume that stalls, so
// nobody waits for it longer than its job lasts.
//
// When Run's context ends no further job is taken. Jobs at hand may go on for
// Config.Drain and then fail as worker_shutdown; their results are delivered.
package worker
