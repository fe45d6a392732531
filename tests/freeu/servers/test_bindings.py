"""What a study sets in a workflow: found by structure, asked for where it is not clear, or named with --bind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from configs import UserError
from freeu import IDENTITY, Factors
from freeu.servers.bindings import ROLES, bound, lines
from freeu.servers.comfyui_backend import ComfyBackend
from freeu.servers.roles import Workflow
from freeu.servers.template import OUTPUT, made
from tests.freeu.servers.flows import CASES, DEFAULT, QUESTIONS, Flow, api, plain, sampler, text

STRONG = Factors(1.4, 1.6, 0.9, 0.2)


def shown(nodes: Mapping[str, Any], given: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """By role its places."""
    found = bound(Workflow(nodes), given)
    places = {role: set(map(str, getattr(found, role))) for role in ROLES if role != "freeu"}
    return {**places, "frames": {str(found.frames)}}


@pytest.mark.parametrize("name", CASES)
def test_the_right_places_are_found(name: str) -> None:
    flow, expected = CASES[name]
    right = {role: set(places.split()) for role, places in {**DEFAULT, **expected}.items() if role != "freeu"}
    assert shown(api(flow)) == right


@pytest.mark.parametrize("name", CASES)
def test_freeu_is_on_every_path_and_off_leaves_the_workflow_as_it_was(name: str) -> None:
    flow, expected = CASES[name]
    nodes = api(flow)
    template = made(nodes, bound(Workflow(nodes), ()))
    sent, off = template.filled("new", 7, STRONG), template.filled("new", 7, IDENTITY)
    numbers = {"b1": 1.4, "b2": 1.6, "s1": 0.9, "s2": 0.2}
    placed = [node["inputs"] for node in sent.values() if node["class_type"] == "FreeU_V2"]
    assert [{key: each[key] for key in numbers} for each in placed] == [numbers] * len(placed)
    assert len(placed) == len(expected.get("freeu", "4").split())
    sources = {node["inputs"]["model"][0] for node in placed_of(sent)}
    assert sources <= set(expected.get("freeu", "4").split()) | {"4"}
    assert not placed_of(off) and off.keys() <= nodes.keys() | {OUTPUT}
    for key, node in off.items():  # as the workflow has it, but for what is bound and FreeU itself
        if key != OUTPUT:
            for input_, value in node["inputs"].items():
                before = nodes[key]["inputs"][input_]
                assert value == before or value in ("new", 7, 1) or before == ["10", 0]
    assert all(value == "new" for role in ("prompt",) for value in values(off, template.bindings, role))
    assert all(value == 7 for value in values(off, template.bindings, "seed"))


def placed_of(nodes: Mapping[str, Any]) -> list[Any]:
    return [node for node in nodes.values() if node["class_type"] in ("FreeU", "FreeU_V2")]


def values(nodes: Mapping[str, Any], bindings: Any, role: str) -> list[Any]:
    return [nodes[place.node]["inputs"][place.input] for place in getattr(bindings, role)]


@pytest.mark.parametrize("name", CASES)
def test_written_bindings_are_read_as_the_same(name: str) -> None:
    nodes = api(CASES[name][0])
    found = bound(Workflow(nodes), ())
    again = bound(Workflow(nodes), found.written())
    assert {role: set(getattr(again, role)) for role in ROLES} == {role: set(getattr(found, role)) for role in ROLES}
    assert len(lines(Workflow(nodes), found)) == len(found.written())


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_could_be_several_things_is_asked(name: str) -> None:
    flow, said = QUESTIONS[name]
    nodes = api(flow)
    with pytest.raises(UserError, match=said) as error:
        made(nodes, bound(Workflow(nodes), ()))
    assert "\n" not in str(error.value)


def test_a_question_is_answered_with_bind() -> None:
    regions, images = api(QUESTIONS["two regions"][0]), api(QUESTIONS["two images"][0])
    assert shown(regions, ("prompt=10.text",))["prompt"] == {"10.text"}
    assert shown(regions, ("prompt=10.text", "prompt=6.text"))["prompt"] == {"10.text", "6.text"}
    assert shown(images, ("image=29",))["image"] == {"28.0"}
    assert shown(images, ("image=28",))["seed"] == {"23.seed"}


@pytest.mark.parametrize(("given", "said"), [
    ("prompt", "ROLE=NODE.INPUT"),
    ("promt=6.text", "did you mean 'prompt'"),
    ("prompt=66.text", "unknown node '66'"),
    ("prompt=6.txt", "did you mean 'text'"),
    ("prompt=6.clip", "comes from another node"),
    ("prompt=30.text", "does not depend on node 30"),
    ("image=8.vae", "N-th output"),
    ("freeu=6", "unknown loader of a model '6'"),
])  # fmt: skip
def test_a_wrong_bind_is_told(given: str, said: str) -> None:
    nodes = api(plain(n30=text("x")))
    with pytest.raises(UserError, match=said):
        made(nodes, bound(Workflow(nodes), (given,)))


def test_freeu_can_be_put_behind_one_loader_alone() -> None:
    flow: Flow = CASES["second pass with another model"][0]
    nodes = api(flow)
    template = made(nodes, bound(Workflow(nodes), ("freeu=10",)))
    sent = template.filled("x", 1, STRONG)
    assert [node["inputs"]["model"] for node in placed_of(sent)] == [["10", 0]]


def test_sampling_settings_go_to_their_inputs() -> None:
    nodes = api(CASES["clip skip"][0])
    template = made(nodes, bound(Workflow(nodes), ()))
    backend = ComfyBackend([], template, "", (768, 512))
    given = {
        "scheduler": "DPM++ 2M Karras",
        "negative_prompt": "dull",
        "size": (640, 832),
        "clip_skip": 1,
        "steps": 9,
        "guidance": 2.5,
    }
    assert backend.with_settings(given).image_size == (832, 640)
    sent = backend.with_settings(given).template.filled("x", 1, IDENTITY)
    assert (sent["7"]["inputs"]["text"], sent["10"]["inputs"]["stop_at_clip_layer"]) == ("dull", -1)
    assert (sent["5"]["inputs"]["width"], sent["5"]["inputs"]["height"]) == (640, 832)
    assert (sent["3"]["inputs"]["steps"], sent["3"]["inputs"]["cfg"]) == (9, 2.5)
    assert (sent["3"]["inputs"]["sampler_name"], sent["3"]["inputs"]["scheduler"]) == ("dpmpp_2m", "karras")
    with pytest.raises(UserError, match="no eta was found in the workflow"):
        backend.with_settings({"eta": 0.5})


def test_steps_of_parts_of_a_run_move_with_their_number() -> None:
    import dataclasses

    nodes = api(CASES["SDXL refiner"][0])
    template = dataclasses.replace(made(nodes, bound(Workflow(nodes), ())), settings={"steps": 50})
    sent = template.filled("x", 1, IDENTITY)
    assert [sent["3"]["inputs"][name] for name in ("steps", "start_at_step", "end_at_step")] == [50, 0, 40]
    assert ComfyBackend([], template, "", (8, 8)).evaluations == 100  # 40 steps and 10, two evaluations each
    assert [sent["13"]["inputs"][name] for name in ("steps", "start_at_step", "end_at_step")] == [50, 40, 10000]


def test_identity_ignores_what_is_bound_and_notices_all_else() -> None:
    def identity(flow: Flow) -> str:
        nodes = api(flow)
        return made(nodes, bound(Workflow(nodes), ())).identity(["v"])

    first = identity(plain())
    assert identity(plain(n3=sampler(99), n6=text("another"))) == first
    assert identity(plain(n9=("SaveImage", {"filename_prefix": "y", "images": ("8", 0)}))) == first
    for other in (
        plain(n7=text("other")),
        plain(n3=sampler(denoise=0.9)),
        plain(n10=lora_of(), n3=sampler(model=("10", 0))),
    ):
        assert identity(other) != first
    assert json.loads(json.dumps(api(plain()))) == api(plain())


def lora_of() -> tuple[str, dict[str, Any]]:
    return "LoraLoader", {
        "model": ("4", 0),
        "clip": ("4", 1),
        "lora_name": "l",
        "strength_model": 1,
        "strength_clip": 1,
    }


def test_long_chains_and_circles_end() -> None:
    chain: Flow = {f"c{n}": ("ConditioningX", {"conditioning": (f"c{n + 1}", 0)}) for n in range(5000)}
    long = api(plain(n3=sampler(positive=("c0", 0))) | chain | {"c5000": text("a long way")})
    assert shown(long)["prompt"] == {"c5000.text"}
    circle = api(plain(n3=sampler(positive=("c0", 0))) | {"c0": ("X", {"conditioning": ("c1", 0)}), "c1": chain["c1"]})
    circle["c1"]["inputs"]["conditioning"] = ["c0", 0]
    videos = api(plain(n9=("SaveVideo", {"video": ("10", 0)}), n10=("Y", {"video": ("10", 0)})))
    for nodes, said in ((circle, "no text of the workflow"), (videos, "ends with no image")):
        with pytest.raises(UserError, match=said):
            bound(Workflow(nodes), ())
