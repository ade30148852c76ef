package gpuerror

// exceptionHeads stand at the start of a line, before a phrase.
var exceptionHeads = []string{
	"CUDA error: ",
	"CUDA error (*): ",
	"HIP error: ",
	"HIP error (*): ",
	"CUDA driver error: ",
	"Triton Error [CUDA]: ",
	"Triton Error [HIP]: ",
	"cuda runtime error (*) : ",
	"cuDNN error: ",
	"cuDNN Frontend error: *cudnn_status: ",
	"cuDNN Frontend error: ",
	"cusolver error: ",
	"Cuda failure *'",
	"CUDA failure *: ",
	"[ONNXRuntimeError] : *CUDA failure *: ",
	"[ONNXRuntimeError] : *CUBLAS failure *: ",
	"[ONNXRuntimeError] : *CUDNN failure *: ",
	"[TRT] [E] *Error Code *: Cuda Runtime (",
	"CUDA API FAILED (*): *: ",
}

// phrases are what stands behind a head: the words of cudaGetErrorString, which
// the driver and HIP share for the most part, and the names of library statuses.
var phrases = []rule{
	// CUDA documents that the process must be terminated and relaunched; for the
	// last two it is other projects that found so.
	{Restart, 700, "an illegal memory access was encountered", "a GPU kernel used memory that is not its own"},
	{Restart, 702, "the launch timed out and was terminated", "a GPU kernel ran for too long and was ended"},
	{Restart, 710, "device-side assert triggered", "an assertion failed inside a GPU kernel, mostly an index out of range"},
	{Restart, 714, "hardware stack error", "the call stack of a GPU kernel was corrupted"},
	{Restart, 715, "an illegal instruction was encountered", "a GPU kernel met an illegal instruction"},
	{Restart, 716, "misaligned address", "a GPU kernel used a misaligned address"},
	{Restart, 717, "operation not supported on global/shared address space", "a GPU kernel used the wrong address space"},
	{Restart, 718, "invalid program counter", "a GPU kernel jumped to an invalid address"},
	{Restart, 719, "unspecified launch failure", "a GPU kernel died, mostly of an invalid access"},
	{Restart, 226, "Invalid access of peer GPU memory over nvlink or a hardware error", "an access to a peer GPU failed"},
	{Restart, 810, "the MPS client has been terminated by the server", "the MPS server ended this process's use of the GPU"},
	{Restart, 911, "an async error has occured in external entity outside of CUDA", "an API beside CUDA failed on the GPU"},
	{Restart, 709, "context is destroyed", "the GPU context of the process is gone"},
	{Restart, 721, "tensor memory not completely freed", "a GPU kernel left tensor memory behind"},

	{Free, 2, "out of memory", "the GPU ran out of memory"},
	{Free, 0, "CUBLAS_STATUS_ALLOC_FAILED", "cuBLAS found no GPU memory"},
	// Mostly full memory. It may be a poisoned process too, which the third in a
	// row would tell.
	{Free, 0, "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(*", "cuBLAS could not start, mostly for want of GPU memory"},
	{Free, 0, "CUSOLVER_STATUS_ALLOC_FAILED", "cuSOLVER found no GPU memory"},
	{Free, 0, "CUDNN_STATUS_ALLOC_FAILED", "cuDNN found no GPU memory"},
	{Free, 0, "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "cuDNN found no GPU memory"},

	{Suspect, 999, "unknown error", "CUDA failed without saying why"},
	{Suspect, 400, "invalid resource handle", "CUDA no longer knows a handle of the process"},
	{Suspect, 0, "CUBLAS_STATUS_EXECUTION_FAILED", "a kernel of cuBLAS failed on the GPU"},
	{Suspect, 0, "CUBLAS_STATUS_INTERNAL_ERROR", "cuBLAS failed inside"},
	{Suspect, 0, "CUBLAS_STATUS_MAPPING_ERROR", "cuBLAS could not reach GPU memory"},
	{Suspect, 0, "CUDNN_STATUS_EXECUTION_FAILED*", "a kernel of cuDNN failed on the GPU"},
	{Suspect, 0, "CUDNN_STATUS_INTERNAL_ERROR", "cuDNN failed inside"},
	{Suspect, 0, "CUDNN_STATUS_MAPPING_ERROR", "cuDNN could not reach GPU memory"},

	{Host, 34, "CUDA driver is a stub library", "the image's stub of the CUDA driver is in place of the real one"},
	{Host, 35, "CUDA driver version is insufficient for CUDA runtime version", "the host's driver is too old for this image"},
	{Host, 46, "CUDA-capable device(s) is/are busy or unavailable", "another process holds the GPU, or it is unwell"},
	{Host, 46, "all CUDA-capable devices are busy or unavailable", "other processes hold the GPU, or it is unwell"},
	{Host, 100, "no CUDA-capable device is detected", "there is no GPU"},
	{Host, 102, "device doesn't have valid Grid license", "the virtual GPU has no licence"},
	{Host, 200, "device kernel image is invalid", "the image's GPU code does not suit this GPU"},
	{Host, 209, "no kernel image is available for execution on the device", "the image has no code for this kind of GPU"},
	{Host, 214, "uncorrectable ECC error encountered", "the GPU's memory is faulty"},
	{Host, 220, "uncorrectable NVLink error detected during the execution", "the link between GPUs is faulty"},
	{Host, 222, "the provided PTX was compiled with an unsupported toolchain", "the host's driver is too old for this image"},
	{Host, 801, "operation not supported", "this GPU lacks what ComfyUI asks for; --disable-cuda-malloc may help"},
	{Host, 802, "system not yet initialized", "the host's GPU fabric is not up"},
	{Host, 803, "system has unsupported display driver / cuda driver combination", "the host's driver and its libraries do not match"},
	{Host, 804, "forward compatibility was attempted on non supported HW", "this kind of GPU needs a newer driver on the host"},
	{Host, 805, "MPS client failed to connect to the MPS control daemon or the MPS server", "the host's MPS server is not there"},
	{Host, 807, "MPS server is not ready to accept new MPS client requests", "the host's MPS server takes no clients"},

	// A call or launch that was refused: the context lives.
	{Leave, 9, "invalid configuration argument", "a kernel launch was refused"},
	{Leave, 217, "peer access is not supported between these two devices", "these GPUs cannot reach each other"},
	{Leave, 701, "too many resources requested for launch", "a kernel launch was refused"},
	{Leave, 704, "peer access is already enabled", "a call was refused"},
	{Leave, 720, "too many blocks in cooperative launch", "a kernel launch was refused"},
	{Leave, 0, "CUBLAS_STATUS_NOT_SUPPORTED", "cuBLAS has no such function"},
	{Leave, 0, "CUBLAS_STATUS_ARCH_MISMATCH", "cuBLAS has no such function for this GPU"},
	{Leave, 0, "CUDNN_STATUS_NOT_SUPPORTED*", "cuDNN has no such function"},
	{Leave, 0, "CUDNN_STATUS_BAD_PARAM*", "cuDNN was called wrongly"},
	{Leave, 0, "[cudnn_frontend] Error: No execution plans support the graph", "cuDNN has no such function"},
}

// sentences begin a line of an exception and need no head. They are asked before
// the phrases, so those that hold a head are exceptions to the phrase behind it.
var sentences = []rule{
	{Host, 0, "No CUDA GPUs are available", "there is no GPU"},
	{Host, 0, "Found no NVIDIA driver on your system", "there is no GPU driver"},
	{Host, 0, "The NVIDIA driver on your system is too old", "the host's driver is too old for this image"},
	{Host, 0, "CUDA driver initialization failed", "the GPU driver does not start"},
	{Host, 0, "CUDA unknown error - this may be due to an incorrectly set up environment", "the GPU driver does not start"},
	{Host, 0, "Unexpected error from cudaGetDeviceCount()", "the GPU driver does not start"},
	// ROCm's word for an image without code for this GPU. From CUDA it is one
	// library that was built for other cards.
	{Host, 98, "HIP error: invalid device function", "the image has no code for this kind of GPU"},

	{Free, 0, "CUDA out of memory. *", "the GPU ran out of memory"},
	{Free, 0, "HIP out of memory. *", "the GPU ran out of memory"},
	{Free, 0, "XPU out of memory. *", "the GPU ran out of memory"},
	{Free, 0, "MPS backend out of memory", "the GPU ran out of memory"},
	{Free, 0, "Allocation on device * would exceed allowed memory", "the GPU ran out of memory"},
	{Free, 0, "NVML_SUCCESS == * INTERNAL ASSERT FAILED at *", "the GPU ran out of memory, and torch could not report it"},
	{Free, 0, "free_upper_bound + pytorch_used_bytes[device] <= device_total INTERNAL ASSERT FAILED at *", "more GPU memory is promised than there is"},
	{Free, 0, "[ONNXRuntimeError] : *BFCArena::AllocateRawInternal*Failed to allocate memory for requested buffer of size *", "onnxruntime found no memory"},
	{Free, 0, "VRAM grow failed: *", "comfy-aimdo found no GPU memory"},
	{Free, 0, "VRAM reservation failed*", "comfy-aimdo found no GPU memory"},
	{Free, 0, "VBAR allocation failed", "comfy-aimdo found no GPU memory"},
	{Free, 0, "HostBuffer.read_file_slice failed", "comfy-aimdo found no GPU memory"},

	{Suspect, 0, "Fault failed: 2", "comfy-aimdo met an error of the driver"},

	// One extension or kernel lacks code for this GPU, everything else has it.
	{Leave, 209, "CUDA error: no kernel image is available for execution on the device (at *", "an extension has no code for this kind of GPU"},
	{Leave, 209, "CUDA error (*): no kernel image is available for execution on the device", "an extension has no code for this kind of GPU"},
	{Leave, 209, "[ONNXRuntimeError] : *CUDA failure 209: *", "onnxruntime has no code for this kind of GPU"},
	{Leave, 200, "Triton Error [CUDA]: device kernel image is invalid", "a compiled Triton kernel does not suit this GPU"},
}
