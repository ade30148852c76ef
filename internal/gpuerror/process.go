package gpuerror

import (
	"slices"
	"strings"
)

// processHeads stand before a phrase in a line of the process.
var processHeads = []string{
	"[TRT] [E] *Error Code *: Cuda Runtime (",
	"[*] [TRT] [E] *Error Code *: Cuda Runtime (",
	"aimdo: *:ERROR:CUDA API FAILED (*): *: ",
}

// copyFailed is how comfy-aimdo tells that a copy did not reach the GPU. The bare
// code follows.
const copyFailed = "aimdo: *:ERROR:*device copy failed result="

// warning is how torch tells that it goes on without a GPU. A host's sentence
// follows.
const warning = "/*/torch/cuda/__init__.py:*: UserWarning: CUDA initialization: "

// assertion is how CUDA tells, for each thread, that a kernel's assertion failed.
const assertion = "*.cu:*: block: [*], thread: [*] Assertion `*` failed"

// processLines are lines that say all by themselves.
var processLines = []rule{
	{Restart, 0, "Exception in thread * (prompt_worker):", "ComfyUI's prompt worker is dead: it answers, and runs nothing"},
	{Restart, 0, "terminate called after throwing an instance of 'c10::*", "torch ended the process"},
	{Restart, 710, "/" + assertion, "an assertion failed inside a GPU kernel, mostly an index out of range"},
	{Restart, 710, "../" + assertion, "an assertion failed inside a GPU kernel, mostly an index out of range"},
	{Restart, 0, "Error * at line * in file *.cu", "bitsandbytes met a CUDA error and ends the process"},
	{Restart, 0, "CUDA error (/*:*): *", "flash-attention met a CUDA error and ends the process"},
	{Restart, 0, "Memory access fault by GPU node-*", "a GPU kernel used memory that is not its own; ROCm ends the process"},
	{Restart, 0, "HSA_STATUS_ERROR*", "ROCm met an error of the GPU and ends the process"},
	{Restart, 0, ":*:rocdevice.cpp*aborting with error : HSA_STATUS_ERROR*", "ROCm met an error of the GPU and ends the process"},

	{Free, 0, "Got an OOM, unloading all loaded models", "the GPU ran out of memory"},
	{Free, 0, "ggml_backend_cuda_buffer_type_alloc_buffer: *cudaMalloc failed: out of memory", "llama.cpp found no GPU memory"},
	{Free, 0, "[TRT] [E] *: OutOfMemory (*", "TensorRT found no GPU memory"},
	{Suspect, 0, "aimdo: *:ERROR:VRAM Allocation failed (non OOM)", "comfy-aimdo met an error of the driver"},

	{Lost, 0, "Failed to initialize NVML: Driver/library version mismatch", "the host's driver was replaced under the container"},
	{Lost, 0, "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch*", "the host's driver was replaced under the container"},
	{Host, 0, "Failed to initialize NVML: Unknown Error", "the GPU was taken from the container"},
	{Host, 0, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver", "the GPU driver does not answer"},
	{Host, 0, "Unable to determine the device handle for GPU*", "the driver has lost the GPU"},
	{Host, 0, "No devices were found", "there is no GPU"},
	{Host, 0, "worker-comfyui: GPU is not available. *", "torch cannot use the GPU"},
}

// ProcessLine judges a line of ComfyUI's standard output or error, with or
// without its end, its colours and its log level. Tracebacks are left to
// Exception: nodes and imports print them for errors that they survive.
func ProcessLine(line string) Finding {
	line = bare(line)
	if f, ok := find(processLines, line); ok {
		return f
	}
	if rest, ok := after(warning, line); ok {
		f, _ := find(sentences, rest)
		return f
	}
	if rest, ok := after(copyFailed, line); ok {
		code, _, _ := strings.Cut(rest, " ")
		if f, ok := byCode(code); ok {
			return f
		}
		return unknown(copyFailed)
	}
	f, _ := behind(processHeads, phrases, line)
	return f
}

// Raises tells of a line that the node at work raises an exception for the same
// reason right after it. On an H100 it came within 20 ms.
func (f Finding) Raises() bool { return strings.HasSuffix(f.Phrase, assertion) }

// LastWords judges the last lines of a process that has exited by itself, oldest
// first. Here the end of a traceback is what it died of.
func LastWords(lines []string) Finding {
	var worst Finding
	for _, line := range lines {
		if f := ProcessLine(line); f.Verdict > worst.Verdict {
			worst = f
		}
	}
	for _, line := range slices.Backward(lines) {
		line = bare(line)
		if line == "" || hasPrefix(line, advice) {
			continue
		}
		typ, message, _ := strings.Cut(line, ": ")
		if f := Exception(typ, message); f.Verdict > worst.Verdict {
			worst = f
		}
		break
	}
	return worst
}

// bare takes off a line what is not its message: what a progress bar left before
// the last carriage return, colours, and the level that ComfyUI prints first.
func bare(line string) string {
	line = strings.TrimRight(line, "\r\n ")
	line = line[strings.LastIndexByte(line, '\r')+1:]
	line = withoutColours(line)
	for _, level := range []string{"DEBUG", "DETAIL", "INFO", "WARNING", "ERROR", "CRITICAL"} {
		if rest, ok := strings.CutPrefix(line, "["+level+"] "); ok {
			return rest
		}
	}
	return line
}

// withoutColours takes out the terminal's colour codes, ESC [ numbers m.
func withoutColours(line string) string {
	start := strings.Index(line, "\x1b[")
	if start < 0 {
		return line
	}
	var b strings.Builder
	for start >= 0 {
		b.WriteString(line[:start])
		line = strings.TrimPrefix(strings.TrimLeft(line[start+2:], "0123456789;"), "m")
		start = strings.Index(line, "\x1b[")
	}
	b.WriteString(line)
	return b.String()
}
