"""A server that keeps the contract of ComfyUI's API, without a model: an image is made of its text, seed and factors.

The contract is that of server.py, execution.py and nodes.py of ComfyUI 0.3.64 (commit a125cd84): what is validated when
a workflow comes in, what stands in the queue and in the history, and in which order it gets there. A node's class is
known where `KNOWN` has it. Faults are put in by name, each for so many requests; see `Faults`.
"""

from __future__ import annotations

import hashlib
import io
import json
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

SIDE, STEPS = 16, 4
FREEU = ("FreeU", "FreeU_V2")
CHOICES = {
    "ckpt_name": ["sd15.safetensors", "other.safetensors"],
    "sampler_name": ["euler", "dpmpp_2m"],
    "scheduler": ["normal", "karras"],
}
KNOWN: dict[str, dict[str, str]] = {
    "CheckpointLoaderSimple": {"ckpt_name": "COMBO"},
    "CLIPTextEncode": {"text": "STRING", "clip": "CLIP"},
    "EmptyLatentImage": {"width": "INT", "height": "INT", "batch_size": "INT"},
    "KSampler": {
        **{"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent_image": "LATENT"},
        **{"seed": "INT", "steps": "INT", "cfg": "FLOAT", "sampler_name": "COMBO", "scheduler": "COMBO"},
        "denoise": "FLOAT",
    },
    "VAEDecode": {"samples": "LATENT", "vae": "VAE"},
    "SaveImage": {"images": "IMAGE", "filename_prefix": "STRING"},
    "PreviewImage": {"images": "IMAGE"},
    "SaveAnimatedWEBP": {"images": "IMAGE", "fps": "FLOAT"},
    **{kind: {"model": "MODEL", "b1": "FLOAT", "b2": "FLOAT", "s1": "FLOAT", "s2": "FLOAT"} for kind in FREEU},
}


@dataclass
class Faults:
    """What goes wrong, each for so many of the requests that it can befall.

    drop: the connection ends without an answer, after what was asked is done. error: HTTP 500. full: HTTP 429 for a
    workflow. truncate: half an image. vanish: an item is gone when its turn comes. cancel: it is interrupted. fail,
    memory: a node raises. slow: seconds before every answer. backwards: the newest item comes first. deaf: a websocket
    that is not accepted. cut: one that ends at its first message.
    """

    drop: int = 0
    error: int = 0
    full: int = 0
    truncate: int = 0
    vanish: int = 0
    cancel: int = 0
    fail: int = 0
    memory: int = 0
    empty: int = 0
    deaf: int = 0
    cut: int = 0
    slow: float = 0.0
    backwards: bool = False

    def take(self, name: str) -> bool:
        left = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return bool(left > 0)


@dataclass
class State:
    """What the server holds. repeats: whether an image comes out the same again. acts: whether FreeU does anything.
    converts: whether it has the extension that converts workflows.
    executed: by workflow, how often it was run.
    """

    seconds: float = 0.0
    faults: Faults = field(default_factory=Faults)
    version: str = "0.3.64"
    repeats: bool = True
    acts: bool = True
    converts: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    queue: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    running: tuple[str, dict[str, Any]] | None = None
    interrupted: set[str] = field(default_factory=set)
    history: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    executed: Counter[str] = field(default_factory=Counter)
    submitted: list[str] = field(default_factory=list)
    clients: dict[str, str] = field(default_factory=dict)
    pongs: int = 0
    listeners: dict[str, Any] = field(default_factory=dict)


def upstream(nodes: dict[str, Any], key: str) -> list[str]:
    """A node and what it is made from."""
    found, waiting = [key], [key]
    while waiting:
        for value in nodes[waiting.pop()]["inputs"].values():
            if isinstance(value, list) and value[0] not in found:
                found.append(value[0])
                waiting.append(value[0])
    return found


def drawn(nodes: dict[str, Any], output: str, acts: bool = True) -> np.ndarray:
    """uint8 (16, 16, 3): depends on the sampler's texts, seed and settings, and on FreeU's factors."""
    said: list[Any] = []
    strength = 0.0
    for key in sorted(upstream(nodes, output)):
        inputs = nodes[key]["inputs"]
        if nodes[key]["class_type"] in FREEU:
            strength += sum(abs(inputs[name] - 1) * n for n, name in enumerate(("b1", "b2", "s1", "s2"), 1))
            strength += 0.01 * (nodes[key]["class_type"] == "FreeU" and strength > 0)
        else:
            said += [value for value in inputs.values() if not isinstance(value, list)]
    seed = int.from_bytes(hashlib.sha256(json.dumps(said).encode()).digest()[:8], "little")
    image = np.random.default_rng(seed).integers(0, 200, (SIDE, SIDE, 3))
    return np.clip(image + 5 * strength * acts, 0, 255).astype(np.uint8)


class ComfyServer:
    """A running server; a context manager."""

    def __init__(self, seconds: float = 0.0, **faults: Any) -> None:
        """seconds: that a workflow takes."""
        self.state = State(seconds, Faults(**faults))
        self._ended = threading.Event()
        self._begin(0)
        threading.Thread(target=self._work, daemon=True).start()

    def _begin(self, port: int) -> None:
        handler = type("Handler", (_Handler,), {"state": self.state})
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> ComfyServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()
        self._ended.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Nobody answers any more, and what it held is lost."""
        self._http.shutdown()
        self._http.server_close()
        with self.state.lock:
            self.state.queue, self.state.history, self.state.files = [], {}, {}

    def start(self) -> None:
        """At the same port again."""
        self._begin(self.port)

    def _work(self) -> None:
        state = self.state
        while not self._ended.is_set():
            with state.lock:
                if not state.queue:
                    item = None
                else:
                    item = state.queue.pop(-1 if state.faults.backwards else 0)
                    if state.faults.take("vanish"):
                        continue
                    state.running = item
            if item is None:
                self._ended.wait(0.002)
                continue
            for step in range(STEPS):
                until = time.monotonic() + state.seconds / STEPS
                while time.monotonic() < until and item[0] not in state.interrupted:
                    time.sleep(min(0.005, state.seconds))
                self._tell(item[0], step + 1)
            with state.lock:
                state.running = None
                state.history[item[0]] = self._entry(*item)

    def _tell(self, key: str, step: int) -> None:
        """Sends a step over the websocket of whoever sent the item, with a ping before it."""
        listener = self.state.listeners.get(self.state.clients.get(key, ""))
        if listener is None:
            return
        said = {"type": "progress", "data": {"value": step, "max": STEPS, "prompt_id": key, "node": "3"}}
        data = json.dumps(said).encode() + b" " * 200 * (step % 2)  # lengths in one byte and in two
        head = bytes([0x81, len(data)]) if len(data) < 126 else b"\x81\x7e" + struct.pack(">H", len(data))
        try:
            if self.state.faults.take("cut"):
                listener.wfile.write(head + data[:5])
                listener.connection.shutdown(socket.SHUT_RDWR)
            else:
                listener.wfile.write(b"\x89\x02hi" + head + data)
        except (OSError, ValueError):
            self.state.listeners.clear()

    def _entry(self, key: str, nodes: dict[str, Any]) -> dict[str, Any]:
        """What an item leaves in the history."""
        state = self.state
        if key in state.interrupted or state.faults.take("cancel"):
            return _ended("error", [["execution_interrupted", {"prompt_id": key}]])
        for fault, kind, said in (
            ("fail", "RuntimeError", "mat1 and mat2 shapes\ncannot be multiplied"),
            ("memory", "torch.OutOfMemoryError", "Allocation on device"),
        ):
            if state.faults.take(fault):
                error = {"node_id": "3", "node_type": "KSampler", "exception_type": kind, "exception_message": said}
                return _ended("error", [["execution_error", error]])
        outputs: dict[str, Any] = {}
        for output, node in nodes.items():
            if node["class_type"] not in ("PreviewImage", "SaveImage"):
                continue
            pixels = drawn(nodes, output, state.acts)
            if not state.repeats:
                pixels = pixels ^ np.random.default_rng().integers(0, 8, pixels.shape, dtype=np.uint8)
            batch = [node["inputs"]["batch_size"] for node in nodes.values() if "batch_size" in node["inputs"]]
            outputs[output] = {"images": []}
            for frame in range(*batch[:1]):
                stream = io.BytesIO()
                Image.fromarray(pixels + np.uint8(frame)).save(stream, "PNG")
                name = f"{uuid.uuid4()}.png"
                state.files[name] = stream.getvalue()
                outputs[output]["images"].append({"filename": name, "subfolder": "", "type": "temp"})
        state.executed[json.dumps(nodes, sort_keys=True)] += 1
        return _ended("success", [["execution_success", {}]]) | {
            "outputs": {} if state.faults.take("empty") else outputs
        }


def _ended(status: str, messages: list[Any]) -> dict[str, Any]:
    return {
        "outputs": {},
        "status": {"status_str": status, "completed": status == "success", "messages": messages},
    }


class _Handler(BaseHTTPRequestHandler):
    state: State
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._do(None)

    def do_POST(self) -> None:
        self._do(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"))

    def _do(self, body: Any) -> None:
        faults, path = self.state.faults, urlsplit(self.path).path
        time.sleep(faults.slow)
        if path == "/ws":
            return self._listened()
        counts = path.startswith(("/history/", "/prompt", "/view", "/queue"))
        if counts and faults.take("error"):
            return self._answer(500, b"Internal Server Error")
        if path == "/prompt" and faults.take("full"):
            return self._answer(429, b"queue full")
        with self.state.lock:
            status, found = self._found(path, body)
        if counts and faults.take("drop"):
            self.close_connection = True
            return None
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        if path == "/view" and faults.take("truncate"):
            data = data[: len(data) // 2]
        return self._answer(status, data)

    def _listened(self) -> None:
        """A websocket, open until the client or the server ends it."""
        state = self.state
        if self.headers.get("Upgrade") != "websocket" or state.faults.take("deaf"):
            return self._answer(400, b"")
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        name = parse_qs(urlsplit(self.path).query)["clientId"][0]
        state.listeners[name] = self
        while sent := self.rfile.read(1):
            state.pongs += sent == b"\x8a"
        self.close_connection = True

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _found(self, path: str, body: Any) -> tuple[int, Any]:
        state, query = self.state, parse_qs(urlsplit(self.path).query)
        if path == "/system_stats":
            return 200, {"system": {"comfyui_version": state.version}, "devices": []}
        if path.startswith("/object_info/"):
            kind = path.rpartition("/")[2]
            return 200, {kind: described(kind)} if kind in KNOWN else {}
        if path == "/queue" and body is None:
            running = [state.running] if state.running else []
            listed = [[[n, *item, {}, []] for n, item in enumerate(each)] for each in (running, state.queue)]
            return 200, {"queue_running": listed[0], "queue_pending": listed[1]}
        if path == "/queue":
            state.queue = [item for item in state.queue if item[0] not in body.get("delete", ())]
            return 200, b""
        if path == "/interrupt":
            if state.running and body.get("prompt_id", state.running[0]) == state.running[0]:
                state.interrupted.add(state.running[0])
            return 200, b""
        if path.startswith("/history/"):
            key = path.rpartition("/")[2]
            return 200, {key: state.history[key]} if key in state.history else {}
        if path == "/history":
            for key in body.get("delete", ()):
                state.history.pop(key, None)
            return 200, b""
        if path == "/view":
            name = query.get("filename", [""])[0]
            return (200, state.files.get(name)) if name in state.files else (404, b"")
        if path == "/prompt":
            return self._queued(body)
        if path == "/workflow/convert" and state.converts:
            return 200, workflow()
        return 404, b"404: Not Found"

    def _queued(self, body: dict[str, Any]) -> tuple[int, Any]:
        nodes = body["prompt"]
        for key, node in nodes.items():
            for name, value in node["inputs"].items():
                if isinstance(value, str) and name in CHOICES and value not in CHOICES[name]:
                    error = {"message": "Value not in list", "details": f"{name}: '{value}' not in {CHOICES[name]}"}
                    errors = {key: {"errors": [error], "class_type": node["class_type"]}}
                    return 400, {"error": {"message": "Prompt outputs failed validation"}, "node_errors": errors}
        key = body.get("prompt_id", str(uuid.uuid4()))
        self.state.queue.append((key, nodes))
        self.state.clients[key] = body.get("client_id", "")
        self.state.submitted.append(key)
        return 200, {"prompt_id": key, "number": len(self.state.submitted), "node_errors": {}}


def described(kind: str) -> dict[str, Any]:
    """A class of nodes as /object_info has it."""
    inputs = {name: [CHOICES[name]] if is_a == "COMBO" else [is_a, {}] for name, is_a in KNOWN[kind].items()}
    return {"input": {"required": inputs}, "output": [], "name": kind}


def workflow(**changes: Any) -> dict[str, Any]:
    """ComfyUI's default workflow, small. changes: inputs of the sampler."""
    nodes = {
        "3": (
            "KSampler",
            {
                **{"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "seed": 1},
                **{"steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, **changes},
            },
        ),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "sd15.safetensors"}),
        "5": ("EmptyLatentImage", {"width": SIDE, "height": SIDE, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": "a cat", "clip": ["4", 1]}),
        "7": ("CLIPTextEncode", {"text": "ugly", "clip": ["4", 1]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"filename_prefix": "ComfyUI", "images": ["8", 0]}),
    }
    return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}
