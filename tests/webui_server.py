"""A server that keeps the contract of the web UIs' API, without a model: an image is made of its request.

The contract is that of modules/api/api.py, modules/progress.py and modules/processing.py of Forge (commit dfdcbab6), as
in A1111's web UI; of modules/api/generate.py and server.py of SD.Next (commit 431bcc36); of the extension
sd-webui-freeu's scripts. Faults are put in by name; see `Faults`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

SIDE = 16
FORGE = "freeu integrated (sd 1.x, sd 2.x, sdxl)"
OFF = (1.0, 1.0, 1.0, 1.0)


@dataclass
class Faults:
    """What goes wrong, each for so many requests for an image.

    drop: the connection ends without an answer. error: HTTP 502 of a proxy. truncate: half an image. interrupt:
    somebody interrupts it, and half an image comes with HTTP 200. memory, fail: the model raises. slow: seconds before
    every answer. jpeg: the images' format is JPEG.
    """

    drop: int = 0
    error: int = 0
    truncate: int = 0
    interrupt: int = 0
    memory: int = 0
    fail: int = 0
    slow: float = 0.0
    jpeg: bool = False

    def take(self, name: str) -> bool:
        left = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return bool(left > 0)


@dataclass
class State:
    """What the server holds. kind: "extension", "forge", "sdnext", or "" without FreeU. password: of basic auth."""

    kind: str = "forge"
    seconds: float = 0.0
    password: str = ""
    faults: Faults = field(default_factory=Faults)
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: str | None = None
    interrupted: bool = False
    drawn: Counter[str] = field(default_factory=Counter)
    requests: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=lambda: {"sd_model_checkpoint": "sd15.safetensors [abc]"})


def factors(kind: str, request: dict[str, Any]) -> tuple[Any, ...]:
    """What the server would do to the U-Net: the factors, and the version where there are two."""
    scripts = {name.lower(): script["args"] for name, script in (request.get("alwayson_scripts") or {}).items()}
    if kind == "forge":
        enabled, *rest = scripts.get(FORGE, [False, *OFF, 0.0, 1.0])
        return tuple(map(float, rest[:4])) if enabled else OFF
    if kind == "extension":
        args = scripts.get("freeu", [{"enable": False}])[0]
        if not args["enable"]:
            return OFF
        one, two, _ = args["stage_infos"]
        found = [stage[name] for name in ("backbone_factor", "skip_factor") for stage in (one, two)]
        return (*found, args["version"])
    options = request.get("override_settings") or {}
    return tuple(options[f"freeu_{n}"] for n in ("b1", "b2", "s1", "s2")) if options.get("freeu_enabled") else OFF


def drawn(kind: str, request: dict[str, Any]) -> np.ndarray:
    """uint8 (16, 16, 3): depends on the prompt, the seed, the settings and FreeU's factors."""
    names = ("prompt", "negative_prompt", "seed", "steps", "cfg_scale", "sampler_name", "enable_hr")
    said = json.dumps([request.get(name) for name in names])
    seed = int.from_bytes(hashlib.sha256(said.encode()).digest()[:8], "little")
    image = np.random.default_rng(seed).integers(0, 200, (SIDE, SIDE, 3))
    numbers = factors(kind, request)
    strength = sum(abs(x - 1) * n for n, x in enumerate(numbers[:4], 1)) + (numbers[4:] == ("1",)) * 0.5
    return np.clip(image + 5 * strength, 0, 255).astype(np.uint8)


class WebUIServer:
    """A running server; a context manager."""

    def __init__(self, kind: str = "forge", seconds: float = 0.0, password: str = "", **faults: Any) -> None:
        """seconds: that an image takes. password: "user:password", where the API wants one."""
        self.state = State(kind, seconds, password, Faults(**faults))
        if kind == "sdnext":
            self.state.options["freeu_enabled"] = False
        self._begin(0)

    def _begin(self, port: int) -> None:
        handler = type("Handler", (_Handler,), {"state": self.state})
        self._http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __enter__(self) -> WebUIServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Nobody answers any more."""
        self._http.shutdown()
        self._http.server_close()

    def start(self) -> None:
        """At the same port again."""
        self._begin(self.port)


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
        state, path = self.state, urlsplit(self.path).path
        time.sleep(state.faults.slow)
        wanted = f"Basic {base64.b64encode(state.password.encode()).decode()}"
        if state.password and self.headers.get("Authorization") != wanted:
            return self._answer(401, {"detail": "Incorrect username or password"})
        found = self._found(path, body)
        if found is None:
            self.close_connection = True
            return None
        return self._answer(*found)

    def _answer(self, status: int, found: Any) -> None:
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _found(self, path: str, body: Any) -> tuple[int, Any] | None:
        state = self.state
        if path == "/sdapi/v1/scripts":
            named = {"forge": [FORGE], "extension": ["freeu"]}.get(state.kind, [])
            return 200, {"txt2img": ["prompt matrix", *named], "img2img": []}
        if path == "/sdapi/v1/options":
            return 200, state.options
        if path == "/sdapi/v1/sd-models":
            return 200, [{"title": "sd15.safetensors [abc]", "model_name": "sd15", "hash": "abc"}]
        if path == "/sdapi/v1/samplers":
            return 200, [{"name": "Euler a", "aliases": ["k_euler_a"]}, {"name": "DPM++ 2M", "aliases": []}]
        if path == "/sdapi/v1/schedulers" and state.kind != "sdnext":
            return 200, [{"name": "karras", "label": "Karras"}]
        if path == "/sdapi/v1/progress":
            told = {"job": "API TXT" if state.running else "", "interrupted": state.interrupted, "skipped": False}
            more = {} if state.kind == "sdnext" else {"current_task": state.running}
            return 200, {"progress": 0.5 if state.running else 0.0, "state": told, **more}
        if path == "/internal/progress" and state.kind != "sdnext":
            return 200, {"active": body["id_task"] == state.running}
        if path == "/sdapi/v1/interrupt":
            state.interrupted = True
            return 200, {}
        if path in ("/sdapi/v1/txt2img", "/sdapi/v1/img2img"):
            return self._drawn(body)
        return 404, {"detail": "Not Found"}

    def _drawn(self, request: dict[str, Any]) -> tuple[int, Any] | None:
        state, faults = self.state, self.state.faults
        if faults.take("error"):
            return 502, b"<html>Bad Gateway</html>"
        for name in request.get("alwayson_scripts") or {}:
            if name.lower() not in (
                FORGE if state.kind == "forge" else "",
                "freeu" if state.kind == "extension" else "",
            ):
                return 422, {"detail": f"always on script {name} not found"}
        with state.lock:  # one image at a time
            state.running, state.interrupted = request.get("force_task_id", "task"), False
            state.requests.append(request)
            until = time.monotonic() + state.seconds
            while time.monotonic() < until and not state.interrupted:
                time.sleep(min(0.005, state.seconds))
            state.interrupted |= faults.take("interrupt")
            pixels = drawn(state.kind, request)
            state.drawn[json.dumps([request["prompt"], request["seed"]])] += 1
            state.running = None
        for fault, kind, said in (
            ("memory", "OutOfMemoryError", "CUDA out of memory."),
            ("fail", "RuntimeError", "NaN\nx"),
        ):
            if faults.take(fault):
                return 500, {"error": kind, "detail": "", "body": "", "errors": said}
        if faults.take("drop"):
            return None
        stream = io.BytesIO()
        Image.fromarray(pixels // (1 + state.interrupted)).save(stream, "JPEG" if faults.jpeg else "PNG")
        data = stream.getvalue()
        data = data[: len(data) // 2] if faults.take("truncate") else data
        return 200, {"images": [base64.b64encode(data).decode()], "parameters": {}, "info": "{}"}
