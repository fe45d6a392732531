"""ComfyUI as a generator, against a server that keeps its contract: images, faults, and what is left behind."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
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
from freeu.servers import comfyui, pool, progress
from freeu.servers.generator import ServerGenerator, seed_of
from freeu.servers.opening import connected
from tests.comfyui_server import ComfyServer, drawn, workflow

PROMPTS = [f"a dog of kind {n}" for n in range(6)]
SEEDS = list(range(6))
STRONG = Factors(1.4, 1.6, 0.9, 0.2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in (
        *((pool, "LOOK", 0.01), (pool, "BEAT", 0.005), (comfyui, "GLANCE", 0.02), (comfyui, "LONG", 0.01)),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def server() -> Iterator[ComfyServer]:
    with ComfyServer() as found:
        yield found


def written(folder: Path, nodes: dict[str, Any]) -> str:
    file = folder / "flow.json"
    file.write_text(json.dumps(nodes))
    return f"comfyui:{file}"


def spec(
    folder: Path, *servers: ComfyServer, nodes: dict[str, Any] | None = None, bind: tuple[str, ...] = ()
) -> ModelSpec:
    given = load_spec(written(folder, nodes or workflow()))
    return connected(given.model_copy(update={"servers": tuple(each.url for each in servers), "bind": bind}))


def generator(folder: Path, *servers: ComfyServer, **more: Any) -> ServerGenerator:
    made = load_generator(spec(folder, *servers, **more))
    assert isinstance(made, ServerGenerator)
    return made


def expected(factors: Factors, prompts: list[str], seeds: list[int]) -> torch.Tensor:
    """The images of the workflow, as the server has them."""
    images = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        nodes = workflow(seed=seed_of(prompt, seed, 2**64))
        nodes["6"]["inputs"]["text"] = prompt
        if not factors.identity:
            numbers = {name: getattr(factors, name) for name in ("b1", "b2", "s1", "s2")}
            nodes["f"] = {
                "class_type": f"FreeU{'_V2' * (factors.version == 'v2')}",
                "inputs": {"model": ["4", 0], **numbers},
            }
            nodes["3"]["inputs"]["model"] = ["f", 0]
        images.append(drawn({**nodes, "3": nodes["3"]}, "8"))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("factors", [IDENTITY, STRONG, dataclasses.replace(STRONG, version="v1")])
def test_images_are_the_workflows(tmp_path: Path, server: ComfyServer, factors: Factors) -> None:
    steps: list[float] = []
    images = generator(tmp_path, server).generate(PROMPTS, SEEDS, factors, steps.append)
    assert torch.equal(images, expected(factors, PROMPTS, SEEDS))
    assert steps[-1] == 6 and steps == sorted(steps)
    assert len(server.state.executed) == 6 and set(server.state.executed.values()) == {1}
    assert not server.state.history and not server.state.queue  # nothing is left that its user would see


FAULTS = [
    *({"drop": 9}, {"error": 9}, {"full": 4}, {"truncate": 4}, {"vanish": 4}, {"cancel": 4}, {"slow": 0.02}),
    *({"backwards": True}, {"drop": 5, "error": 5, "truncate": 3, "vanish": 2, "cancel": 2, "backwards": True}),
]


@pytest.mark.parametrize("faults", FAULTS, ids=[" ".join(each) for each in FAULTS])
def test_no_fault_loses_an_image_or_changes_one(tmp_path: Path, faults: dict[str, Any]) -> None:
    with ComfyServer() as server:
        made = generator(tmp_path, server)
        server.state.faults = type(server.state.faults)(**faults)
        images = made.generate(PROMPTS, SEEDS, STRONG)
        assert torch.equal(images, expected(STRONG, PROMPTS, SEEDS))
        if not {"truncate", "cancel", "vanish"} & faults.keys():
            assert set(server.state.executed.values()) == {1}, "an image was drawn twice"
        assert len(server.state.executed) == 6 and not server.state.queue


@pytest.mark.parametrize("faults", [{}, {"deaf": 1}, {"cut": 1}], ids=["whole", "deaf", "cut"])
def test_steps_are_told_where_the_websocket_tells_them(
    tmp_path: Path, faults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.05)
    with ComfyServer(seconds=0.4, **faults) as server:
        steps: list[float] = []
        images = generator(tmp_path, server).generate(PROMPTS[:2], SEEDS[:2], STRONG, steps.append)
        assert torch.equal(images, expected(STRONG, PROMPTS[:2], SEEDS[:2]))
        assert steps == sorted(steps) and any(step % 1 for step in steps) and steps[-1] == 2
        assert server.state.pongs


def test_a_server_that_restarts_is_waited_for(tmp_path: Path) -> None:
    with ComfyServer(seconds=0.02) as server:
        made, begun = generator(tmp_path, server), threading.Event()

        def restart() -> None:
            begun.wait()
            server.stop()
            server.start()

        thread = threading.Thread(target=restart)
        thread.start()

        def step(done: float) -> None:
            if done >= 2:
                begun.set()

        assert torch.equal(made.generate(PROMPTS, SEEDS, STRONG, step), expected(STRONG, PROMPTS, SEEDS))
        thread.join()


def test_one_of_two_servers_may_end(tmp_path: Path) -> None:
    with ComfyServer(seconds=0.01) as one, ComfyServer(seconds=0.01) as two:
        made = generator(tmp_path, one, two)
        both = made.generate(PROMPTS, SEEDS, STRONG)
        assert one.state.executed and two.state.executed
        two.stop()
        assert torch.equal(made.generate(PROMPTS, SEEDS, STRONG), both)
        two.start()


def test_no_server_for_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE", 0.0)
    with ComfyServer() as server:
        made = generator(tmp_path, server)
        server.stop()
        with pytest.raises(GenerationError, match=f"{server.url} has not answered"):
            made.generate(PROMPTS, SEEDS, STRONG)
        server.start()


@pytest.mark.parametrize(("fault", "said"), [
    ("fail", r"failed at node 3 \(KSampler\): RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
    ("memory", r"is out of memory at node 3 \(KSampler\)"),
    ("empty", "without an image"),
])  # fmt: skip
def test_what_fails_there_is_told_in_a_line(tmp_path: Path, server: ComfyServer, fault: str, said: str) -> None:
    made = generator(tmp_path, server)
    setattr(server.state.faults, fault, 1)
    with pytest.raises(GenerationError, match=said) as error:
        made.generate(PROMPTS, SEEDS, STRONG)
    assert "\n" not in str(error.value) and not server.state.queue
    assert torch.equal(made.generate(PROMPTS, SEEDS, STRONG), expected(STRONG, PROMPTS, SEEDS))


def test_ctrl_c_takes_ours_out_of_the_queue_and_nobody_elses(tmp_path: Path) -> None:
    with ComfyServer(seconds=30) as server:
        made = generator(tmp_path, server)
        other = ("theirs", workflow())

        def step(done: float) -> None:
            if len(server.state.submitted) == 2 and server.state.running:
                server.state.queue.append(other)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made.generate(PROMPTS, SEEDS, STRONG, step)
        assert len(server.state.interrupted) == 1 and server.state.interrupted <= set(server.state.submitted)
        assert other in (*server.state.queue, server.state.running)
        assert not {key for key, _ in server.state.queue} & set(server.state.submitted)


def test_another_persons_item_is_not_interrupted(tmp_path: Path) -> None:
    with ComfyServer(seconds=30) as server:
        made = generator(tmp_path, server)
        server.state.queue.append(("theirs", workflow()))

        def step(done: float) -> None:
            if len(server.state.submitted) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made.generate(PROMPTS, SEEDS, STRONG, step)
        assert not server.state.queue and not server.state.interrupted


def test_the_start_measures_repeats_and_whether_freeu_acts(tmp_path: Path, server: ComfyServer) -> None:
    made = generator(tmp_path, server)
    made.prepare(PROMPTS)
    assert made.notes == () and sum(server.state.executed.values()) == 4
    server.state.repeats = False
    made.prepare(PROMPTS)
    assert len(made.notes) == 1 and "do not repeat" in made.notes[0]


def test_steps_of_all_passes_move(tmp_path: Path, server: ComfyServer) -> None:
    made = generator(tmp_path, server)
    few = made.with_sampling(Sampling(steps=2))
    assert (made.unet_evaluations(3), few.unet_evaluations(3)) == (24, 12)
    images = few.generate(PROMPTS[:1], SEEDS[:1], IDENTITY)
    assert not torch.equal(images, expected(IDENTITY, PROMPTS[:1], SEEDS[:1]))
    assert few.identity == made.identity  # the steps stand in the study's fingerprint


def test_a_video_is_its_frames_before_they_are_compressed(tmp_path: Path, server: ComfyServer) -> None:
    nodes = workflow()
    nodes["5"]["inputs"]["batch_size"] = 3
    still = generator(tmp_path, server, nodes=nodes)
    nodes["9"] = {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["8", 0], "fps": 8.0}}
    made = generator(tmp_path, server, nodes=nodes)
    assert (still.frames, made.frames, made.unet_evaluations(2)) == (1, 3, 48)
    images = made.generate(PROMPTS[:2], SEEDS[:2], STRONG)
    assert images.shape == (2, 3, 3, 16, 16)
    assert torch.equal(images[:, 2], images[:, 0] + 2)
    assert torch.equal(still.generate(PROMPTS[:2], SEEDS[:2], STRONG), expected(STRONG, PROMPTS[:2], SEEDS[:2]))


def test_an_image_is_the_workflow_that_made_it(tmp_path: Path, server: ComfyServer) -> None:
    info = PngInfo()
    info.add_text("prompt", json.dumps(workflow()))
    info.add_text("workflow", "{}")
    Image.new("RGB", (8, 8)).save(tmp_path / "made.png", pnginfo=info)
    given = load_spec(f"comfyui:{tmp_path / 'made.png'}").model_copy(update={"servers": (server.url,)})
    found, wanted = load_generator(connected(given)), generator(tmp_path, server)
    assert found.identity == wanted.identity
    assert torch.equal(found.generate(["a cat"], [0], STRONG), wanted.generate(["a cat"], [0], STRONG))


def test_identity_is_the_workflow_without_prompt_and_seed(tmp_path: Path, server: ComfyServer) -> None:
    first = generator(tmp_path, server).identity
    changed = workflow(seed=77)
    changed["6"]["inputs"]["text"] = "another"
    assert generator(tmp_path, server, nodes=changed).identity == first
    assert generator(tmp_path, server, nodes=workflow(sampler_name="dpmpp_2m")).identity != first
    server.state.version = "0.4"
    assert generator(tmp_path, server).identity != first


def test_a_freeu_node_of_the_workflow_is_used_and_bypassed(tmp_path: Path, server: ComfyServer) -> None:
    nodes = workflow(model=["10", 0])
    nodes["10"] = {"class_type": "FreeU", "inputs": {"model": ["4", 0], "b1": 1.2, "b2": 1.2, "s1": 0.5, "s2": 0.5}}
    made = generator(tmp_path, server, nodes=nodes)
    assert torch.equal(made.generate(PROMPTS, SEEDS, IDENTITY), expected(IDENTITY, PROMPTS, SEEDS))
    old = dataclasses.replace(STRONG, version="v1")
    assert torch.equal(made.generate(PROMPTS, SEEDS, old), expected(old, PROMPTS, SEEDS))
    with pytest.raises(UserError, match="--version v1"):
        made.generate(PROMPTS, SEEDS, STRONG)
    with pytest.raises(UserError, match="stages by width"):
        made.generate(PROMPTS, SEEDS, dataclasses.replace(old, stages="block"))
