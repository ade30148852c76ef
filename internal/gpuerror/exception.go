package gpuerror

import (
	"slices"
	"strings"
)

// outOfMemory are the types that say all by themselves.
var outOfMemory = []string{
	"torch.OutOfMemoryError",
	"torch.cuda.OutOfMemoryError",
	"cupy.cuda.memory.OutOfMemoryError",
}

// onlyGPU are the types that nothing but the GPU's layers raise.
var onlyGPU = []string{
	"torch.AcceleratorError",
	"torch.cuda.CudaError",
	"torch.cuda.DeferredCudaCallError",
}

// alsoGPU are the types under which the GPU's layers speak among others. One
// that ends in a dot stands for all types below it.
var alsoGPU = []string{
	"RuntimeError",
	"MemoryError",
	"torch.distributed.DistBackendError",
	"onnxruntime.capi.",
	"torch._inductor.exc.",
	"torch._dynamo.exc.",
}

// Exception judges what a node raised: the exception_type and exception_message
// of ComfyUI's execution_error. The message's line breaks have to be kept.
func Exception(typ, message string) Finding {
	if isOneOf(outOfMemory, typ) {
		return Finding{Verdict: Free, Phrase: typ, Why: "the GPU ran out of memory"}
	}
	sure := isOneOf(onlyGPU, typ)
	if !sure && !isOneOf(alsoGPU, typ) {
		return Finding{}
	}
	heads := exceptionHeads
	if typ == "torch.cuda.CudaError" { // its message is the bare phrase and code
		heads = []string{""}
	}
	var worst Finding
	for line := range strings.Lines(message) {
		f, ok := exceptionLine(heads, strings.TrimRight(line, "\r\n"))
		if ok && (worst.Phrase == "" || f.Verdict > worst.Verdict) {
			worst = f
		}
	}
	if worst.Phrase == "" && sure {
		return unknown(typ)
	}
	return worst
}

func isOneOf(types []string, typ string) bool {
	return slices.ContainsFunc(types, func(t string) bool {
		return typ == t || strings.HasSuffix(t, ".") && strings.HasPrefix(typ, t)
	})
}

func exceptionLine(heads []string, line string) (Finding, bool) {
	line = withoutTypes(line)
	if f, ok := find(sentences, line); ok {
		return f, true
	}
	return behind(heads, phrases, line)
}

// withoutTypes takes "torch.AcceleratorError: " and the like off the front of a
// line, where one exception quotes another, and torch's words for a call that
// was put off.
func withoutTypes(line string) string {
	for {
		name, rest, ok := strings.Cut(line, ": ")
		if !ok || !isTypeName(name) && name != "CUDA call failed lazily at initialization with error" {
			return line
		}
		line = rest
	}
}

func isTypeName(s string) bool {
	for _, c := range s {
		if c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return strings.HasSuffix(s, "Error") || strings.HasSuffix(s, "Exception") || strings.HasSuffix(s, "Fail")
}
