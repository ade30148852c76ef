// Package gpuerror tells what an error message of the GPU means for the process
// that met it. Most say nothing about the next job. Some say that memory ran
// out, which unloading models mends. A few poison the process: CUDA documents
// for them that every later call fails in the same way until the process is
// relaunched. And some are the host's, so that no process will do better.
//
// Four functions look at the places where such words appear:
//
//	Exception    what a node raised, by the type and message that ComfyUI reports
//	ProcessLine  one line of ComfyUI's output
//	LastWords    the last lines of a process that has exited
//	KernelLine   one line of the kernel's log: NVIDIA's Xids, AMD's time-outs
//
// Each returns a [Finding], whose [Verdict] is about this one message. What to do
// depends on what came before too (the third job in a row without memory, the
// second process poisoned by one job), which is what a [History] knows: its Next
// turns a finding into an [Action].
//
// # How words are recognised
//
// Everything that a user can write may hold the words "CUDA error", so a loose
// word never decides. An exception must have a type that the GPU's layers raise,
// and one of its lines must be a known sentence, or a known head ("CUDA error: ")
// with a whole known phrase behind it ("an illegal memory access was
// encountered"). Head and sentence stand at the start of the line, behind nothing
// but names of exception types; the phrase ends where the line ends or where a
// known tail begins. Of torch's advice below the error ("Compile with
// `TORCH_USE_CUDA_DSA` to enable device-side assertions") nothing is a phrase.
//
// A message with several such lines means the gravest of them, in the order of
// the verdicts. A head with unknown words behind it is [Unknown], not Leave.
//
// All of this is tables: a new wording is a new row. Which codes are sticky comes
// from the error types of the CUDA Runtime API, the Xids from NVIDIA's catalog and its
// Kubernetes device plugin, the wordings from torch, cuDNN, onnxruntime, TensorRT,
// comfy-aimdo and ROCm.
//
// # What it cannot know
//
// CUDA reports late: the node that raised is often not the one that is to blame.
// A poisoned process may also call itself out of memory, or answer with garbage
// and no error. And a node may print a user's text with line breaks in it, so
// what a line asks for must stay cheap: a History reruns a job at most once, and
// fails it the second time.
package gpuerror
