package gpuerror

import (
	"strings"
	"testing"
)

func TestProcessLineKnowsEachRow(t *testing.T) {
	for _, r := range processLines {
		line := filled(r.words)
		if f := ProcessLine(line); f.Verdict != r.verdict || f.Phrase != r.words {
			t.Errorf("%s\ngot %s by %q, want %s by %q", line, f.Verdict, f.Phrase, r.verdict, r.words)
		}
	}
}

func TestProcessLine(t *testing.T) {
	tests := []struct {
		name, line string
		want       Verdict
	}{
		{"prompt worker dead", "Exception in thread Thread-1 (prompt_worker):\n", Restart},
		{"behind a progress bar", " 35%|###5      | 7/20 [00:03<00:06]\rException in thread Thread-1 (prompt_worker):", Restart},
		{"another thread dead", "Exception in thread Thread-1 (prompt_worker_watcher):", Leave},
		{"in colours", "\x1b[1m\x1b[31m[ERROR]\x1b[0m Got an OOM, unloading all loaded models.", Free},
		{"colours inside the message", "\x1b[32m[INFO]\x1b[0m \x1b[32mGot an OOM, unloading all loaded models.\x1b[0m", Free},
		{"a level alone", "[ERROR] Got an OOM, unloading all loaded models.", Free},
		{"a bracket that is no level", "[node] Got an OOM, unloading all loaded models.", Leave},
		{"a kernel's assertion", "../aten/src/ATen/native/cuda/IndexKernel.cu:92: operator(): block: [0,0,0], thread: [31,0,0] Assertion `-sizes[i] <= index && index < sizes[i] && \"index out of bounds\"` failed.", Restart},
		{"a kernel's assertion in a wheel", "/pytorch/aten/src/ATen/native/cuda/Indexing.cu:1289: indexSelectLargeIndex: block: [4,0,0], thread: [0,0,0] Assertion `srcIndex < srcSelectDimSize` failed.", Restart},
		{"an assertion of Python", "AssertionError: Assertion `x` failed.", Leave},
		{"ROCm's queue", ":0:rocdevice.cpp            :2984: 7282131 us: [pid:1 tid:0x7f] Callback: Queue 0x7f aborting with error : HSA_STATUS_ERROR_EXCEPTION: An HSAIL operation resulted in a hardware exception. code: 0x1016", Restart},
		{"TensorRT poisoned, with the time", "[11/23/2026-10:00:00] [TRT] [E] 1: [cudaResources.cpp::~ScopedCudaEvent::24] Error Code 1: Cuda Runtime (misaligned address)", Restart},
		{"TensorRT out of memory", "[TRT] [E] 1: [defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)", Free},
		{"TensorRT out of memory of its own", "[TRT] [E] 2: [virtualMemoryBuffer.cpp::resizePhysical::140] Error Code 2: OutOfMemory (no further information)", Free},
		{"aimdo's copy failed for want of memory", "aimdo: src/hostbuf.c:283:ERROR:hostbuf_read_file_slice: device copy failed result=2 device_ptr=0 size=1", Free},
		{"aimdo's copy failed by poison", "[ERROR] aimdo: src/hostbuf.c:283:ERROR:hostbuf_read_file_slice: device copy failed result=700 device_ptr=0", Restart},
		{"aimdo's copy failed by who knows what", "aimdo: src/hostbuf.c:283:ERROR:hostbuf_read_file_slice: device copy failed result=70000000000000000000000", Unknown},
		{"torch goes on without a GPU", "/usr/lib/python3/torch/cuda/__init__.py:180: UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 11040).", Host},
		{"torch warns of something else", "/usr/lib/python3/torch/cuda/__init__.py:61: UserWarning: CUDA initialization: all is well", Leave},
		{"a traceback that the process survives", "RuntimeError: No CUDA GPUs are available", Leave},
		{"a number alone", "700", Leave},
		{"a colour that never ends", "\x1b[", Leave},
		{"nothing", "\r\n", Leave},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if f := ProcessLine(tt.line); f.Verdict != tt.want {
				t.Errorf("%q\ngot %s by %q, want %s", tt.line, f.Verdict, f.Phrase, tt.want)
			}
		})
	}
}

func TestLastWords(t *testing.T) {
	tests := []struct {
		name, lines string
		want        Verdict
	}{
		{"no GPU at start", "Traceback (most recent call last):\n  File \"main.py\", line 1\nRuntimeError: No CUDA GPUs are available", Host},
		{"poisoned at start, with torch's advice", "torch.AcceleratorError: CUDA error: misaligned address\nSearch for `cudaErrorMisalignedAddress' in https://docs.nvidia.com\nCUDA kernel errors might be asynchronously reported\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n", Restart},
		{"an import that failed earlier", "RuntimeError: No CUDA GPUs are available\nCannot import /custom_nodes/x module for custom nodes\nStarting server", Leave},
		{"torch's end", "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA error: misaligned address\n", Restart},
		{"a port in use", "OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8188)", Leave},
		{"silence", "", Leave},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if f := LastWords(strings.Split(tt.lines, "\n")); f.Verdict != tt.want {
				t.Errorf("%s\ngot %s by %q, want %s", tt.lines, f.Verdict, f.Phrase, tt.want)
			}
		})
	}
	if f := LastWords(nil); f.Verdict != Leave {
		t.Errorf("no lines: got %+v", f)
	}
}

func FuzzProcessLine(f *testing.F) {
	for _, e := range corpus(f) {
		f.Add(e.Message)
	}
	f.Add("\x1b[1m\x1b[31m[ERROR]\x1b[0m Got an OOM, unloading all loaded models.")
	f.Fuzz(func(t *testing.T, line string) {
		found := ProcessLine(line)
		if found.Verdict != Leave && (found.Phrase == "" || found.Why == "") {
			t.Errorf("ProcessLine(%q) = %+v, which does not say why", line, found)
		}
		LastWords(strings.Split(line, "\n"))
	})
}
