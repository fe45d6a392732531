"""Servers and workflows that can't be used: one line with the fix, at once, and nothing sent elsewhere."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from freeu.models import load_spec
from freeu.models.spec import ModelSpec
from freeu.servers import http
from freeu.servers.http import Client, Refused, Unreachable, address
from freeu.servers.images import Broken, pixels
from freeu.servers.opening import connected, load
from tests.comfyui_server import ComfyServer, workflow


@contextmanager
def answering(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Iterator[tuple[str, list[Any]]]:
    """A program that answers all requests alike; what it was asked is in the list."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers)))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def opened(folder: Path, server: str, nodes: Any = None, *bind: str) -> ModelSpec:
    file = folder / "flow.json"
    file.write_text(nodes if isinstance(nodes, str) else json.dumps(nodes or workflow()))
    return connected(load_spec(f"comfyui:{file}").model_copy(update={"servers": (server,), "bind": bind}))


def refused(folder: Path, server: str, said: str, nodes: Any = None) -> None:
    with pytest.raises(UserError, match=said) as error:
        opened(folder, server, nodes)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        refused(tmp_path, f"http://127.0.0.1:{free.getsockname()[1]}", "does not answer .*: start ComfyUI")


@pytest.mark.parametrize(("status", "body", "said"), [
    (200, b"<html>a web page</html>", "is no ComfyUI"),
    (200, b'{"system": 3}', "is no ComfyUI"),
    (404, b"not found", "is no ComfyUI"),
    (401, b"", "wants a password"),
    (503, b"starting", "HTTP 503: starting"),
])  # fmt: skip
def test_another_program(tmp_path: Path, status: int, body: bytes, said: str) -> None:
    with answering(status, body) as (url, _):
        refused(tmp_path, url, said)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with answering(200) as (other, asked), answering(302, headers={"Location": f"{other}/system_stats"}) as (url, _):
        refused(tmp_path, url, "redirects to")
        assert not asked


def test_a_silent_program_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client.json, "__defaults__", (None, 0.2, None))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        refused(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}", "does not answer")


def test_a_body_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST", 1000)
    with answering(200, b"x" * 3_000_000) as (url, _), pytest.raises(UserError, match="answers with more than"):
        Client(address(url, 80)).raw("GET", "/")


def test_a_short_body_is_no_answer() -> None:
    with answering(200, b"abc", {"Content-Length": "300"}) as (url, _), pytest.raises(Unreachable):
        Client(address(url, 80)).raw("GET", "/")


def test_a_password_is_sent_and_never_shown() -> None:
    with answering(200, b"{}") as (url, asked):
        client = Client(address(url.replace("//", "//me:secret@"), 80))
        client.json("GET", "/x")
        assert asked[0][1]["Authorization"] == "Basic bWU6c2VjcmV0" and "secret" not in str(client.address)
    with pytest.raises(UserError) as error:
        address("ftp://me:secret@host", 80)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("text", ["ftp://a", "http://", "http://a:99999", "http://a/?x=1", "::", "http://[::1"])
def test_no_address(text: str) -> None:
    with pytest.raises(UserError, match="expected an address"):
        address(text, 8188)


@pytest.mark.parametrize(("text", "shown"), [
    ("localhost", "http://localhost:8188"),
    ("http://a:1/comfy/", "http://a:1/comfy"),
    ("https://a", "https://a:443"),
    ("http://[::1]:5", "http://[::1]:5"),
])  # fmt: skip
def test_addresses(text: str, shown: str) -> None:
    assert str(address(text, 8188)) == shown


SAVED = {"nodes": [{"id": 1, "type": "KSampler"}], "links": []}


@pytest.mark.parametrize(("nodes", "said"), [
    (SAVED, r"Export \(API\)"),
    ("[1, 2]", "is no ComfyUI workflow"),
    ("{}", "is no ComfyUI workflow"),
    ("{", "flow.json"),
    ({"1": {"inputs": {}}}, "no class_type"),
    ({**workflow(), "6": {"class_type": "MyTextNode", "inputs": {"text": "x"}}}, "has no node MyTextNode"),
    (workflow(sampler_name="dpmpp_9m"), "has no sampler_name 'dpmpp_9m'"),
    ({**workflow(), "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}}},
     "has no ckpt_name 'x.safetensors', which CheckpointLoaderSimple"),
])  # fmt: skip
def test_a_workflow_that_the_server_can_not_run(tmp_path: Path, nodes: Any, said: str) -> None:
    with ComfyServer() as server:
        refused(tmp_path, server.url, said, nodes)
        assert not server.state.submitted


def test_a_saved_workflow_is_converted_where_the_server_can(tmp_path: Path) -> None:
    with ComfyServer() as server:
        server.state.converts = True
        assert opened(tmp_path, server.url, SAVED).bind == opened(tmp_path, server.url).bind


def test_servers_of_two_versions(tmp_path: Path) -> None:
    with ComfyServer() as one, ComfyServer() as two:
        two.state.version = "0.4"
        spec = load_spec(f"comfyui:{tmp_path / 'flow.json'}").model_copy(update={"servers": (one.url, two.url)})
        (tmp_path / "flow.json").write_text(json.dumps(workflow()))
        with pytest.raises(UserError, match="bring them to one version"):
            connected(spec)


def test_freeu_that_does_nothing_is_told_before_the_search(tmp_path: Path) -> None:
    with ComfyServer() as server:
        server.state.acts = False
        made = load(opened(tmp_path, server.url))
        with pytest.raises(UserError, match="FreeU does nothing in this workflow"):
            made.prepare(["a cat"])


def test_a_refusal_of_the_server_is_told_in_its_words() -> None:
    error = Refused(400, "line\nline" * 1000)
    assert "\n" not in str(error) and len(str(error)) < 400 and not error.passing


def test_images_that_lose_detail_or_are_none() -> None:
    import io

    import torch
    from PIL import Image

    image = Image.effect_noise((8, 6), 50).convert("RGB")
    kinds: dict[str, bytes] = {}
    for kind, options in (("PNG", {}), ("JPEG", {}), ("WEBP", {"lossless": True}), ("WEBP", {"quality": 50})):
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        kinds[f"{kind}{options}"] = stream.getvalue()
    assert torch.equal(pixels(kinds["PNG{}"]), pixels(kinds["WEBP{'lossless': True}"]))
    for kind in ("JPEG{}", "WEBP{'quality': 50}"):
        with pytest.raises(UserError, match="loses detail"):
            pixels(kinds[kind])
    for data in (b"", b"x" * 50, kinds["PNG{}"][:60]):
        with pytest.raises(Broken):
            pixels(data)
