"""The web UIs as generators, against a server that keeps their contract: requests, faults, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from configs import UserError
from freeu import IDENTITY, Factors, Sampling
from freeu.generate import GenerationError
from freeu.models import load_generator, load_spec
from freeu.models.spec import ModelSpec
from freeu.presets import Preset, write
from freeu.servers import pool, webui
from freeu.servers.generator import ServerGenerator, seed_of
from freeu.servers.opening import connected, explained
from freeu.servers.requests import worded
from tests.webui_server import WebUIServer, drawn, factors

PROMPTS = [f"a dog of kind {n}" for n in range(4)]
SEEDS = list(range(4))
STRONG = Factors(1.4, 1.6, 0.9, 0.2)
BY_BLOCK = Factors(1.4, 1.6, 0.9, 0.2, "v1", "block")
REQUEST = {"prompt": "x", "negative_prompt": "ugly", "steps": 12, "cfg_scale": 5.0, "width": 16, "height": 16}
KINDS = {"forge": STRONG, "extension": STRONG, "sdnext": BY_BLOCK}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((pool, "LOOK"), (pool, "BEAT"), (webui, "GLANCE")):
        monkeypatch.setattr(module, name, 0.01)


def spec(folder: Path, *servers: str, request: Any = None) -> ModelSpec:
    file = folder / "request.json"
    file.write_text(json.dumps(REQUEST if request is None else request))
    return connected(load_spec(f"webui:{file}").model_copy(update={"servers": servers}))


def generator(folder: Path, *servers: WebUIServer, request: Any = None) -> ServerGenerator:
    made = load_generator(spec(folder, *(each.url for each in servers), request=request))
    assert isinstance(made, ServerGenerator)
    return made


def expected(kind: str, under: Factors, request: dict[str, Any] = REQUEST) -> torch.Tensor:
    images = []
    for prompt, seed in zip(PROMPTS, SEEDS, strict=True):
        sent = {**request, "prompt": prompt, "seed": seed_of(prompt, seed, 2**32 - 1)}
        numbers = {name: getattr(under, name) for name in ("b1", "b2", "s1", "s2")}
        on = {"freeu_enabled": not under.identity, **{f"freeu_{name}": value for name, value in numbers.items()}}
        image = drawn("sdnext", {**sent, "override_settings": on}).astype(int)
        images.append(image)
    return torch.from_numpy(np.stack(images).astype(np.uint8)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("off", [True, False])
def test_images_are_the_requests(tmp_path: Path, kind: str, off: bool) -> None:
    under = IDENTITY if off else KINDS[kind]
    with WebUIServer(kind) as server:
        images = generator(tmp_path, server).generate(PROMPTS, SEEDS, under)
        assert torch.equal(images, expected(kind, under))
        assert set(server.state.drawn.values()) == {1} and len(server.state.drawn) == 4
        for request in server.state.requests:
            assert factors(kind, request)[:4] == (under.b1, under.b2, under.s1, under.s2)
            assert not request["save_images"] and request["batch_size"] == 1


FAULTS = [
    {"drop": 3},
    {"error": 3},
    {"truncate": 3},
    {"interrupt": 3},
    {"slow": 0.02},
    {"drop": 1, "error": 1, "truncate": 1},
]


@pytest.mark.parametrize("faults", FAULTS, ids=[" ".join(each) for each in FAULTS])
@pytest.mark.parametrize("kind", ["forge", "sdnext"])
def test_no_fault_loses_an_image_or_changes_one(tmp_path: Path, kind: str, faults: dict[str, Any]) -> None:
    with WebUIServer(kind) as server:
        made = generator(tmp_path, server)
        server.state.faults = type(server.state.faults)(**faults)
        assert torch.equal(made.generate(PROMPTS, SEEDS, KINDS[kind]), expected(kind, KINDS[kind]))
        assert len(server.state.drawn) == 4


@pytest.mark.parametrize(("fault", "said"), [
    ("memory", "is out of memory: .*--medvram"),
    ("fail", "failed: RuntimeError: NaN x"),
])  # fmt: skip
def test_what_fails_there_is_told_in_a_line(tmp_path: Path, fault: str, said: str) -> None:
    with WebUIServer() as server:
        made = generator(tmp_path, server)
        setattr(server.state.faults, fault, 1)
        with pytest.raises(GenerationError, match=said) as error:
            made.generate(PROMPTS, SEEDS, STRONG)
        assert "\n" not in str(error.value)


def test_a_server_that_restarts_is_waited_for(tmp_path: Path) -> None:
    with WebUIServer(seconds=0.02) as server:
        made, begun = generator(tmp_path, server), threading.Event()

        def restart() -> None:
            begun.wait()
            server.stop()
            server.start()

        thread = threading.Thread(target=restart)
        thread.start()
        images = made.generate(PROMPTS, SEEDS, STRONG, lambda done: begun.set() if done >= 1 else None)
        thread.join()
        assert torch.equal(images, expected("forge", STRONG))


@pytest.mark.parametrize("kind", ["forge", "sdnext"])
def test_ctrl_c_interrupts_ours(tmp_path: Path, kind: str) -> None:
    with WebUIServer(kind, seconds=20) as server:
        made = generator(tmp_path, server)

        def step(done: float) -> None:
            if server.state.running:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made.generate(PROMPTS, SEEDS, KINDS[kind], step)
        assert server.state.interrupted


def test_ctrl_c_leaves_others_alone(tmp_path: Path) -> None:
    with WebUIServer(seconds=0.5) as server:
        made = generator(tmp_path, server)
        server.state.lock.acquire()
        server.state.running = "theirs"

        def step(done: float) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made.generate(PROMPTS, SEEDS, STRONG, step)
        assert not server.state.interrupted
        server.state.lock.release()


@pytest.mark.parametrize(("kind", "wrong", "said"), [
    ("forge", dataclasses.replace(STRONG, version="v1"), "--version v2"),
    ("extension", dataclasses.replace(STRONG, stages="block"), "--stages width"),
    ("sdnext", STRONG, "--version v1"),
])  # fmt: skip
def test_another_method_is_refused(tmp_path: Path, kind: str, wrong: Factors, said: str) -> None:
    with WebUIServer(kind) as server, pytest.raises(UserError, match=said):
        generator(tmp_path, server).generate(PROMPTS, SEEDS, wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_measures(tmp_path: Path, kind: str) -> None:
    with WebUIServer(kind) as server:
        made = generator(tmp_path, server)
        made.prepare(PROMPTS)
        assert made.notes == () and len(server.state.requests) == 3
        assert (made.unet_evaluations(2), made.with_sampling(Sampling(steps=6)).unet_evaluations(2)) == (48, 24)


def test_identity_is_the_request_and_the_servers_model(tmp_path: Path) -> None:
    with WebUIServer() as server, WebUIServer() as other:
        first = generator(tmp_path, server, other).identity
        assert generator(tmp_path, server, request={**REQUEST, "prompt": "y", "seed": 3}).identity == first
        assert generator(tmp_path, server, request={**REQUEST, "prompt": "<lora:l:1>"}).identity != first
        other.state.options["sd_model_checkpoint"] = "other"
        with pytest.raises(UserError, match="another model"):
            generator(tmp_path, server, other)
        assert generator(tmp_path, other).identity != first


def refused(folder: Path, url: str, said: str, request: Any = None) -> None:
    with pytest.raises(UserError, match=said) as error:
        spec(folder, url, request=request)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("request_", "said"), [
    ({**REQUEST, "override_settings": {"sd_model_checkpoint": "sdxl"}}, "unknown model 'sdxl'"),
    ({**REQUEST, "sampler_name": "Euler b"}, "did you mean 'Euler a'"),
    ({**REQUEST, "steps": "many"}, "steps of the request is 'many'"),
    ([1], "is no request"),
    ({"a": 1}, "neither prompt, steps nor width"),
])  # fmt: skip
def test_a_request_that_can_not_be(tmp_path: Path, request_: Any, said: str) -> None:
    with WebUIServer() as server:
        refused(tmp_path, server.url, said, request_)


def test_servers_that_can_not_be(tmp_path: Path) -> None:
    with WebUIServer("") as plain, WebUIServer("forge", password="me:secret") as locked, WebUIServer("sdnext") as other:
        refused(tmp_path, plain.url, "has no FreeU: install the extension")
        refused(tmp_path, locked.url, "wants a password")
        assert spec(tmp_path, locked.url.replace("//", "//me:secret@")).bind == ("freeu=forge",)
        with pytest.raises(UserError, match="give servers alike"):
            spec(tmp_path, other.url, locked.url.replace("//", "//me:secret@"))
        locked.stop()
        refused(tmp_path, locked.url, "does not answer")
        locked.start()


def test_jpeg_is_refused(tmp_path: Path) -> None:
    with WebUIServer(jpeg=True) as server, pytest.raises(UserError, match="JPEG, which loses detail"):
        generator(tmp_path, server).generate(PROMPTS, SEEDS, STRONG)


INFOTEXT = """a cat, <lora:fur:0.7>
in two lines
Negative prompt: ugly
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, Size: 512x768, Model hash: abc, \
Model: sd15, Denoising strength: 0.5, Clip skip: 2, Hires upscale: 1.5, Hires steps: 10, Hires upscaler: Latent"""


def test_an_images_settings_are_a_request(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", INFOTEXT)
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png", pnginfo=info)
    Image.new("RGB", (8, 8)).save(tmp_path / "empty.png")
    with WebUIServer() as server:
        given = load_spec(f"webui:{tmp_path / 'mine.png'}").model_copy(update={"servers": (server.url,)})
        found = connected(given)
        assert (found.steps, found.guidance, found.size, found.name) == (25, 6.5, (512, 768), "mine")
        assert (found.scheduler, found.clip_skip, found.negative_prompt) == ("DPM++ 2M Karras", 2, "ugly")
        assert "before <lora:fur:0.7>" in explained(found)[0]
        made = load_generator(found)
        made.generate(PROMPTS[:1], SEEDS[:1], STRONG)
        sent = server.state.requests[-1]
        assert sent["prompt"] == f"{PROMPTS[0]} <lora:fur:0.7>" and sent["negative_prompt"] == "ugly"
        assert sent["override_settings"] == {"sd_model_checkpoint": "sd15", "CLIP_stop_at_last_layers": 2}
        assert (sent["enable_hr"], sent["hr_scale"], sent["scheduler"], sent["width"]) == (True, 1.5, "Karras", 512)
        assert made.unet_evaluations(1) == 2 * 30  # 25 steps, then half of 10
        empty = given.model_copy(update={"source": str(tmp_path / "empty.png")})
        with pytest.raises(UserError, match="no settings of a web UI"):
            connected(empty)


def test_prompts_in_their_place() -> None:
    assert worded("best, {prompt}, 8k", "a cat") == "best, a cat, 8k"
    assert worded("a dog <lora:a:1> <hypernet:b:0.5>", "a cat") == "a cat <lora:a:1> <hypernet:b:0.5>"
    assert worded("a dog", "a cat <3") == "a cat <3"


@pytest.mark.parametrize("kind", ["forge", "extension"])
def test_a_preset_goes_back_into_the_request(tmp_path: Path, kind: str) -> None:
    format = {"forge": "forge_api", "extension": "sdwebui_api"}[kind]
    file = tmp_path / "mine.json"
    name = {"forge": "FreeU Integrated (SD 1.x, SD 2.x, sdxl)", "extension": "FreeU"}[kind]
    scripts = {name: {"args": [{"enable": False}]}, "other": {"args": [1]}}
    file.write_text(json.dumps({**REQUEST, "alwayson_scripts": scripts}))
    write(Preset(STRONG, "m"), file, format)
    found = json.loads(file.read_text())
    assert factors(kind, found)[:4] == (1.4, 1.6, 0.9, 0.2) and found["steps"] == 12
    assert found["alwayson_scripts"].pop("other") == {"args": [1]} and len(found["alwayson_scripts"]) == 1
    with WebUIServer(kind) as server:  # and a study of that request begins with FreeU off
        images = generator(tmp_path, server, request=found).generate(PROMPTS, SEEDS, IDENTITY)
        assert torch.equal(images, expected(kind, IDENTITY))
