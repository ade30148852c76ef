"""A ComfyUI whose nodes use a real GPU: the routes and events that comfyvisor needs,
over aiohttp, and nodes that compute, fail as faults.py does, or keep memory.
"""

import argparse
import asyncio
import json
import os
import struct
import sys
import threading
import time
import traceback
import uuid
import zlib

import torch
from aiohttp import web

import faults

args = argparse.ArgumentParser()
args.add_argument("--port", type=int, default=8188)
args.add_argument("--listen", nargs="?", const="0.0.0.0", default="127.0.0.1")
args.add_argument("--output-directory", default=os.path.join(os.path.dirname(__file__), "output"))
args, _ = args.parse_known_args()

loop = asyncio.new_event_loop()
queue, running, history, sockets = [], None, {}, {}
wake = threading.Condition()
kept = []


def picture(size, seed):
    """A PNG of numbers that the GPU made."""
    generator = torch.Generator(device="cuda").manual_seed(seed)
    a = torch.randn(size, size, device="cuda", generator=generator)
    for _ in range(4):
        a = torch.tanh(a @ a / size)
    grey = ((a + 1) * 127.5).to(torch.uint8).cpu().numpy()
    rows = b"".join(b"\0" + row.tobytes() for row in grey)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def gpu_image(prompt, node, size, seed, filename_prefix):
    folder, name = os.path.split(filename_prefix)
    where = os.path.join(args.output_directory, folder)
    os.makedirs(where, exist_ok=True)
    name = f"{name}_{len(os.listdir(where)) + 1:05}_.png"
    with open(os.path.join(where, name), "wb") as f:
        f.write(picture(size, seed))
    return {"images": [{"filename": name, "subfolder": folder, "type": "output"}]}


def gpu_fault(prompt, node, fault, seed):
    faults.ALL[fault]()
    return {"text": ["nothing was raised"]}


def gpu_keep(prompt, node, gigabytes, seconds, seed):
    """Keeps memory until the process ends."""
    kept.append(torch.ones(int(gigabytes * (1 << 30)), dtype=torch.uint8, device="cuda"))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.05)
    return {"text": [str(torch.cuda.memory_allocated())]}


def gpu_spin(prompt, node, seed):
    faults._spin()


NODES = {"GpuImage": gpu_image, "GpuFault": gpu_fault, "GpuKeep": gpu_keep, "GpuSpin": gpu_spin}
INPUTS = {
    "GpuImage": {"size": ["INT", {}], "seed": ["INT", {}], "filename_prefix": ["STRING", {}]},
    "GpuFault": {"fault": ["STRING", {}], "seed": ["INT", {}]},
    "GpuSpin": {"seed": ["INT", {}]},
    "GpuKeep": {"gigabytes": ["FLOAT", {}], "seconds": ["FLOAT", {}], "seed": ["INT", {}]},
}


def tell(client, event, **data):
    text = json.dumps({"type": event, "data": data})

    async def send():
        for sid, ws in list(sockets.items()):
            if client in (None, sid):
                await ws.send_str(text)
    asyncio.run_coroutine_threadsafe(send(), loop)


def left():
    return {"exec_info": {"queue_remaining": len(queue) + (running is not None)}}


def worker():
    global running
    while True:
        with wake:
            while not queue:
                wake.wait()
            running = queue.pop(0)
        number, id, graph, client = running
        tell(None, "status", status=left())
        execute(number, id, graph, client)
        with wake:
            running = None
        tell(client, "executing", node=None, prompt_id=id)
        tell(None, "status", status=left())


def execute(number, id, graph, client):
    messages, outputs, status = [], {}, "success"

    def note(event, **data):
        data.update(prompt_id=id, timestamp=int(time.time() * 1000))
        messages.append([event, data])
        tell(client, event, **data)
    note("execution_start")
    note("execution_cached", nodes=[])
    for node, spec in graph.items():
        tell(client, "executing", node=node, display_node=node, prompt_id=id)
        try:
            outputs[node] = NODES[spec["class_type"]](id, node, **spec["inputs"])
        except BaseException as e:
            trace = traceback.format_exc()
            print("!!! Exception during processing !!!", e, flush=True)
            print(trace, file=sys.stderr, flush=True)
            note("execution_error", node_id=node, node_type=spec["class_type"], executed=list(outputs),
                 exception_message=str(e) + "\n", exception_type=faults.name_of(e),
                 traceback=trace.splitlines(True), current_inputs={}, current_outputs=[])
            status = "error"
            break
        tell(client, "executed", node=node, display_node=node, output=outputs[node], prompt_id=id)
    else:
        note("execution_success")
    history[id] = {
        "prompt": [number, id, graph, {"client_id": client}, list(graph)], "outputs": outputs,
        "status": {"status_str": status, "completed": status == "success", "messages": messages}, "meta": {},
    }


routes = web.RouteTableDef()


@routes.get("/ws")
async def socket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    sid = request.query.get("clientId") or uuid.uuid4().hex
    sockets[sid] = ws
    await ws.send_str(json.dumps({"type": "status", "data": {"status": left(), "sid": sid}}))
    async for _ in ws:
        pass
    if sockets.get(sid) is ws:
        del sockets[sid]
    return ws


@routes.get("/prompt")
async def count(request):
    return web.json_response(left())


@routes.post("/prompt")
async def submit(request):
    body = await request.json()
    with wake:
        number = len(history) + len(queue) + 1
        queue.append((number, body.get("prompt_id") or str(uuid.uuid4()), body["prompt"], body.get("client_id")))
        id = queue[-1][1]
        wake.notify()
    return web.json_response({"prompt_id": id, "number": number, "node_errors": {}})


@routes.get("/queue")
async def waiting(request):
    def item(p):
        return [p[0], p[1], p[2], {"client_id": p[3]}, list(p[2])]
    return web.json_response({"queue_running": [item(running)] if running else [], "queue_pending": [item(p) for p in queue]})


@routes.get("/history/{id}")
async def one(request):
    id = request.match_info["id"]
    return web.json_response({id: history[id]} if id in history else {})


@routes.get("/object_info")
async def classes(request):
    return web.json_response({name: {"input": {"required": INPUTS[name]}, "output": [], "output_is_list": [], "output_name": [],
                                     "name": name, "display_name": name, "description": "", "category": "gpu",
                                     "output_node": True, "python_module": "nodes"} for name in NODES})


@routes.get("/system_stats")
async def stats(request):
    free, total = torch.cuda.mem_get_info()  # raises in a poisoned process, as ComfyUI's does
    return web.json_response({
        "system": {"os": "posix", "comfyui_version": "0.3.64", "python_version": sys.version, "pytorch_version": torch.__version__,
                   "embedded_python": False, "argv": sys.argv, "ram_total": 0, "ram_free": 0},
        "devices": [{"name": "cuda:0 " + torch.cuda.get_device_name(), "type": "cuda", "index": 0, "vram_total": total,
                     "vram_free": free, "torch_vram_total": 0, "torch_vram_free": 0}],
    })


@routes.post("/free")
async def free(request):
    torch.cuda.empty_cache()
    return web.Response()


@routes.post("/history")
async def forget(request):
    for id in (await request.json()).get("delete", []):
        history.pop(id, None)
    return web.Response()


@routes.post("/queue")
@routes.post("/interrupt")
async def nothing(request):
    return web.Response()


async def main():
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    host = "0.0.0.0" if args.listen == "0.0.0.0" else args.listen
    await web.TCPSite(runner, host, args.port).start()
    print(f"Device: cuda:0 {torch.cuda.get_device_name()}", flush=True)
    print(f"To see the GUI go to: http://{host}:{args.port}", flush=True)
    threading.Thread(target=worker, daemon=True).start()
    await asyncio.Event().wait()

torch.zeros(1, device="cuda")
loop.run_until_complete(main())
