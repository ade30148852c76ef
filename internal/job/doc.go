// Package job holds the words that the sources of jobs, the worker and the
// stores of files share: a [Job] comes in, [Progress] is told while it runs, a
// [Result] goes out. They are values without behaviour, so that a source needs
// to know nothing of ComfyUI and the worker nothing of RunPod.
package job
