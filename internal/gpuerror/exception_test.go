package gpuerror

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// filled returns words that a pattern matches.
func filled(pattern string) string { return strings.ReplaceAll(pattern, "*", "7") }

// torchAdvice is what versions of torch put below an error.
var torchAdvice = []string{
	"",
	"\nCUDA kernel errors might be asynchronously reported at some other API call,so the stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1.",
	"\nSearch for `cudaErrorAny' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information.\nFor more detailed error information, run with CUDA_LOG_FILE=stderr\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
	" CUDA kernel errors might be asynchronously reported at some other API call. Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
	"\n\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have accidentally set the batch_size to a large number.",
}

// Each phrase means the same behind each head and above each advice, but for
// the sentences that say otherwise of one head.
func TestExceptionKnowsEachPhraseBehindEachHead(t *testing.T) {
	for _, r := range phrases {
		for _, head := range exceptionHeads {
			for _, advice := range torchAdvice {
				message := filled(head) + filled(r.words) + advice
				line, _, _ := strings.Cut(message, "\n")
				if _, special := find(sentences, line); special {
					continue
				}
				f := Exception("RuntimeError", message)
				if f.Verdict != r.verdict || f.Phrase != r.words {
					t.Errorf("%s\ngot %s by %q, want %s by %q", message, f.Verdict, f.Phrase, r.verdict, r.words)
				}
			}
		}
	}
}

func TestExceptionKnowsEachSentence(t *testing.T) {
	for _, r := range sentences {
		f := Exception("torch._inductor.exc.InductorError", "RuntimeError: "+filled(r.words))
		if f.Verdict != r.verdict || f.Why != r.why {
			t.Errorf("%s\ngot %+v, want %s", filled(r.words), f, r.verdict)
		}
	}
}

func TestException(t *testing.T) {
	tests := []struct {
		name, typ, message string
		want               Verdict
		code               string
	}{
		{"out of memory by its type alone", "torch.OutOfMemoryError", "", Free, ""},
		{"out of memory by its type, whatever else", "torch.cuda.OutOfMemoryError", "CUDA error: misaligned address", Free, ""},
		{"cupy's type", "cupy.cuda.memory.OutOfMemoryError", "Out of memory allocating 1,024 bytes (allocated so far: 0 bytes).", Free, ""},
		{"out of memory before torch had a type for it", "RuntimeError", "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 8.00 GiB total capacity)", Free, ""},
		{"poison counts more than memory", "RuntimeError", "CUDA error: out of memory\nCUDA error: misaligned address", Restart, "cuda 716"},
		{"the host counts more than poison", "RuntimeError", "CUDA error: misaligned address\nCUDA error: uncorrectable ECC error encountered", Host, "cuda 214"},
		{"put off by torch", "torch.cuda.DeferredCudaCallError", "CUDA call failed lazily at initialization with error: CUDA error: device-side assert triggered\n\nCUDA call was originally invoked at:\n\n  File \"main.py\"", Restart, "cuda 710"},
		{"types quoted twice", "torch._dynamo.exc.InternalTorchDynamoError", "torch._inductor.exc.InductorError: RuntimeError: CUDA error: misaligned address", Restart, "cuda 716"},
		{"Windows line ends", "RuntimeError", "CUDA error: misaligned address\r\nCompile with `TORCH_USE_CUDA_DSA`\r\n", Restart, "cuda 716"},
		{"a place in the source behind it", "RuntimeError", "CUDA error: an illegal memory access was encountered (at /src/gemv.cu:318)", Restart, "cuda 700"},
		{"NCCL without a number", "torch.distributed.DistBackendError", "NCCL error in: x.cpp:1, unhandled cuda error\nLast error:\nCuda failure 'unspecified launch failure'", Restart, "cuda 719"},
		{"cuDNN's front end", "RuntimeError", "cuDNN Frontend error: CUDNN_BACKEND_OPERATION: x Failed cudnn_status: CUDNN_STATUS_EXECUTION_FAILED", Suspect, ""},
		{"a longer name of a status", "RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_TEXTURE_CREATION_FAILED", Unknown, ""},
		{"cublasCreate decides about memory", "RuntimeError", "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasSgemm(handle)`", Unknown, ""},
		{"words that nobody knows behind a head", "RuntimeError", "CUDA error: the flux capacitor is empty", Unknown, ""},
		{"a type of the GPU's alone with words that nobody knows", "torch.AcceleratorError", "it broke", Unknown, ""},
		{"a harmless refusal of the GPU's own type", "torch.AcceleratorError", "CUDA error: too many resources requested for launch", Leave, "cuda 701"},
		{"a phrase that goes on", "RuntimeError", "CUDA error: operation not supported when the moon is full", Unknown, ""},
		{"a phrase in the middle of a line", "RuntimeError", "could not draw: CUDA error: misaligned address", Leave, ""},
		{"a bare phrase", "RuntimeError", "an illegal memory access was encountered", Leave, ""},
		{"a bare number", "RuntimeError", "98", Leave, ""},
		{"the words under another type", "ValueError", "CUDA error: misaligned address", Leave, ""},
		{"a type that only begins like one", "RuntimeErrorOfMine", "CUDA error: misaligned address", Leave, ""},
		{"nothing at all", "", "", Leave, ""},
		{"an ordinary mistake", "RuntimeError", "mat1 and mat2 shapes cannot be multiplied (154x2048 and 768x320)\n\nTIPS: check the file", Leave, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := Exception(tt.typ, tt.message)
			if f.Verdict != tt.want || f.Code != tt.code {
				t.Errorf("%s: %s\ngot %s (%s) by %q, want %s (%s)", tt.typ, tt.message, f.Verdict, f.Code, f.Phrase, tt.want, tt.code)
			}
		})
	}
}

// Whatever users write may hold our words, whole and with their heads: in the
// middle of a line they mean nothing.
func TestWordsInsideAUsersSentenceMeanNothing(t *testing.T) {
	var words []string
	for _, table := range [][]rule{phrases, sentences, processLines, kernelLines} {
		for _, r := range table {
			words = append(words, filled(r.words))
		}
	}
	for _, head := range append(exceptionHeads, processHeads...) {
		words = append(words, filled(head)+"misaligned address")
	}
	words = append(words, "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", filled(warning)+"No CUDA GPUs are available")

	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SampledFrom([]string{
			"got prompt: ", "Failed to encode text: '", "[INFO] node 12 says ", "a poster that reads ",
			"Prompt executed in 3.2 seconds, ", "500 Server Error: ", "node ", "\x1b[32m[INFO]\x1b[0m loading ",
			"audit: comm=\"grep\" name=\"", "Expected a string but got \"", " ",
		}).Draw(t, "before")
		more := rapid.StringMatching(`[a-z0-9 ,.!]{0,20}`).Draw(t, "more")
		after := rapid.StringMatching(`[^\n\r]{0,30}`).Draw(t, "after")
		line := before + more + rapid.SampledFrom(words).Draw(t, "words") + after
		typ := rapid.SampledFrom(append(alsoGPU, "ValueError", "KeyError", "Exception")).Draw(t, "type")
		if f := Exception(strings.TrimSuffix(typ, "."), line); f.Verdict != Leave {
			t.Errorf("Exception(%q, %q) = %+v", typ, line, f)
		}
		if f := ProcessLine(line); f.Verdict != Leave {
			t.Errorf("ProcessLine(%q) = %+v", line, f)
		}
		if f := KernelLine(line, nil); f.Verdict != Leave {
			t.Errorf("KernelLine(%q) = %+v", line, f)
		}
	})
}

func FuzzException(f *testing.F) {
	for _, e := range corpus(f) {
		f.Add(e.Type, e.Message)
	}
	f.Add("RuntimeError", "Error: Error: CUDA error: ")
	f.Fuzz(func(t *testing.T, typ, message string) {
		found := Exception(typ, message)
		if found.Verdict != Leave && (found.Phrase == "" || found.Why == "") {
			t.Errorf("Exception(%q, %q) = %+v, which does not say why", typ, message, found)
		}
		if found.Verdict != Leave && !isOneOf(outOfMemory, typ) && !isOneOf(onlyGPU, typ) && !isOneOf(alsoGPU, typ) {
			t.Errorf("Exception(%q, %q) = %+v, of a type that is not the GPU's", typ, message, found)
		}
	})
}
