"""Real faults of a real GPU, by name. Each function raises what PyTorch, CUDA or
Triton say; where nothing is said the process is left as the fault left it.

python faults.py tries each in a process of its own and writes what was raised, and
whether the process could use its GPU afterwards, as JSON to standard output.
"""

import json
import os
import subprocess
import sys

KERNEL = 'extern "C" __global__ '


def _raw(source, *args, block=(1, 1, 1), **kwargs):
    import cupy
    kernel = cupy.RawKernel(source, "f")
    kernel((1, 1, 1), block, args, **kwargs)
    _sync()


def _one():
    import numpy
    return numpy.int32(1)


def _sync():
    import torch
    torch.cuda.synchronize()


def index_assert():
    import torch
    x = torch.zeros(8, device="cuda")
    x[torch.tensor([99], device="cuda")]
    _sync()


def embedding_assert():
    import torch
    table = torch.nn.Embedding(10, 4).cuda()
    table(torch.tensor([4000], device="cuda"))
    _sync()


def multinomial_assert():
    import torch
    torch.multinomial(torch.tensor([-1.0, 2.0], device="cuda"), 1)
    _sync()


def illegal_address():
    import numpy
    _raw(KERNEL + "void f(unsigned long long p) { *(int*)p = 1; }", numpy.uint64(0x10))


def misaligned_address():
    import cupy
    buffer = cupy.zeros(64, dtype=cupy.int8)
    _raw(KERNEL + "void f(char *p) { *(int*)(p + 1) = 1; }", buffer)


def trap():
    _raw(KERNEL + 'void f(int n) { asm("trap;"); }', _one())


def assert_in_kernel():
    _raw(KERNEL + "void f(int n) { assert(n == 0); }", _one())


def stack_overflow():
    import cupy
    _raw("__device__ __noinline__ int g(int n) { volatile int a[64]; a[n & 63] = n; return n ? g(n + 1) + a[n & 63] : 0; }\n"
         + KERNEL + "void f(int n, int *p) { *p = g(n); }", _one(), cupy.zeros(1, dtype=cupy.int32))


def _triton(source):
    """The kernel f of a program: Triton reads it from a file."""
    import importlib.util
    import tempfile
    path = os.path.join(tempfile.mkdtemp(), "kernel.py")
    with open(path, "w") as f:
        f.write("import triton\nimport triton.language as tl\n@triton.jit\n" + source)
    spec = importlib.util.spec_from_file_location("kernel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f


def triton_illegal_address():
    import torch
    f = _triton("def f(p):\n    tl.store(p + 4000000000000, 1.0)\n")
    f[(1,)](torch.zeros(8, device="cuda"))
    _sync()


def _spin():
    """Never returns."""
    import cupy
    _raw(KERNEL + "void f(volatile int *p) { while (*p == 0) {} }", cupy.zeros(1, dtype=cupy.int32))


def launch_too_wide():
    _raw(KERNEL + "void f(int n) {}", _one(), block=(4096, 1, 1))


def out_of_memory():
    import torch
    torch.empty(1 << 44, dtype=torch.uint8, device="cuda")


def out_of_memory_bit_by_bit():
    import torch
    kept = []
    while True:
        kept.append(torch.empty(1 << 30, dtype=torch.uint8, device="cuda"))


def out_of_memory_async():
    """With the allocator that ComfyUI asks for. See _try."""
    out_of_memory_bit_by_bit()


def _fill():
    import cupy
    kept = []
    for size in (1 << 30, 1 << 26, 1 << 22):
        while True:
            try:
                kept.append(cupy.cuda.runtime.malloc(size))
            except cupy.cuda.runtime.CUDARuntimeError:
                break
    return kept


def no_memory_for_cublas():
    import torch
    a = torch.ones(256, 256, device="cuda")
    kept = _fill()
    try:
        a @ a
        _sync()
    finally:
        _free(kept)


def _free(kept):
    import cupy
    for p in kept:
        try:
            cupy.cuda.runtime.free(p)
        except cupy.cuda.runtime.CUDARuntimeError:
            pass


def no_memory_for_cudnn():
    import torch
    conv = torch.nn.Conv2d(64, 64, 3).cuda()
    x = torch.ones(1, 64, 512, 512, device="cuda")
    kept = _fill()
    try:
        conv(x)
        _sync()
    finally:
        _free(kept)


def pinned_out_of_memory():
    import torch
    torch.empty(1 << 44, dtype=torch.uint8, pin_memory=True)


def registered_twice():
    import torch
    x = torch.empty(1 << 20, dtype=torch.uint8)
    cudart = torch.cuda.cudart()
    for _ in range(2):
        torch.cuda.check_error(cudart.cudaHostRegister(x.data_ptr(), x.numel(), 0))


def registered_twice_unchecked():
    """The first refusal is not looked at, and haunts the next call."""
    import torch
    x = torch.empty(1 << 20, dtype=torch.uint8)
    cudart = torch.cuda.cudart()
    for _ in range(2):
        cudart.cudaHostRegister(x.data_ptr(), x.numel(), 0)
    torch.zeros(8, device="cuda").add_(1)
    _sync()


def no_such_device():
    import torch
    torch.zeros(8, device="cuda:63")


def two_devices():
    import torch
    torch.zeros(8, device="cuda") @ torch.zeros(8)


def shapes():
    import torch
    torch.zeros(8, 4, device="cuda") @ torch.zeros(8, 4, device="cuda")


def singular():
    import torch
    torch.linalg.inv(torch.zeros(4, 4, device="cuda"))


def sync_while_capturing():
    import torch
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        torch.zeros(8, device="cuda").sum().item()


def triton_out_of_shared_memory():
    import torch
    f = _triton("def f(p, N: tl.constexpr):\n"
                "    r = tl.arange(0, N)\n    q = p + r[:, None] * N + r[None, :]\n"
                "    tl.store(q, tl.trans(tl.load(q)))\n")
    f[(1,)](torch.zeros(256, 256, device="cuda"), 256, num_warps=8)
    _sync()


def forked():
    import multiprocessing
    import torch
    torch.zeros(8, device="cuda")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(_child)


def _child():
    import torch
    torch.zeros(8, device="cuda")


ALL = {name: f for name, f in list(globals().items()) if callable(f) and not name.startswith("_")}


def name_of(e):
    """The type as ComfyUI tells it."""
    t = type(e)
    return t.__qualname__ if t.__module__ == "builtins" else t.__module__ + "." + t.__qualname__


def _try(name):
    if name == "out_of_memory_async":
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "backend:cudaMallocAsync"
    import torch
    seen = {"id": name}
    try:
        ALL[name]()
    except BaseException as e:
        seen.update(type=name_of(e), message=str(e))
    for _ in range(2):  # an error that nobody looked at is told once more
        seen.pop("after", None)
        try:
            if torch.ones(1024, device="cuda").sum().item() != 1024:
                seen["after"] = "the sum is wrong"
            _sync()
        except BaseException as e:
            seen.update(after=str(e), afterType=name_of(e))
    print("SEEN " + json.dumps(seen), flush=True)


def _main():
    seen = []
    for name in ALL:
        try:
            p = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, errors="replace", timeout=60)
        except subprocess.TimeoutExpired:
            seen.append({"id": name, "died": "no end within 60 s"})
            continue
        told = [line[5:] for line in p.stdout.splitlines() if line.startswith("SEEN ")]
        one = json.loads(told[0]) if told else {"id": name}
        if p.returncode != 0:
            one["died"] = p.returncode
        one["stderr"] = p.stderr[-3000:]
        seen.append(one)
    json.dump(seen, sys.stdout, indent=1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _try(sys.argv[1])
    else:
        _main()
