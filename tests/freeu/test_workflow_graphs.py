"""Over made-up workflows: FreeU once on each path of a model, all else as it was, and the links in order."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from configs import UserError
from freeu.factors import Factors
from freeu.presets import Preset, comfyui, workflow

from .workflows import api, consistent, graphs, passed, saved

PRESET = Preset(Factors(1.3, 1.4, 0.9, 0.2), "m")
QUIET = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def patched(found: Any) -> dict[str, Any] | None:
    """None where no model goes anywhere."""
    try:
        text, _ = workflow.patch(PRESET, json.dumps(found))
    except UserError as error:
        assert "no node that loads a model" in str(error)
        return None
    result: dict[str, Any] = json.loads(text)
    return result


@QUIET
@given(nodes=graphs(), vague=st.booleans())
def test_saved_workflows_pass_freeu_once(nodes: list[Any], vague: bool) -> None:
    before = saved(nodes, vague)
    consistent(before)
    after = patched(copy.deepcopy(before))
    if after is None:
        assert not passed(nodes, set())
        return
    consistent(after)
    new = {node["id"]: node for node in after["nodes"][len(nodes) :]}
    assert {node["type"] for node in new.values()} == {"FreeU_V2"}
    links = {link[0]: link for link in after["links"]}
    behind = {number: tuple(links[node["inputs"][0]["link"]][1:3]) for number, node in new.items()}
    assert passed(nodes, set(behind.values())) <= {1}
    for link in before["links"]:
        there = links[link[0]]
        source = behind.get(there[1], tuple(there[1:3]))
        assert [there[0], *source, *there[3:]] == link and (there[1] in new) == (tuple(link[1:3]) in behind.values())
    for node, now in zip(before["nodes"], after["nodes"], strict=False):
        for slot, output in enumerate(node["outputs"]):
            if (node["id"], slot) in behind.values():
                output["links"] = now["outputs"][slot]["links"]
        assert node == now
    again = patched(copy.deepcopy(after))
    assert again is not None and len(again["nodes"]) == len(after["nodes"]) and again["links"] == after["links"]


TWO_LOADERS_AT_A_SWITCH: list[Any] = [
    ("CheckpointLoaderSimple", [], ["MODEL", "CLIP", "VAE"]),
    ("CheckpointLoaderSimple", [], ["MODEL", "CLIP", "VAE"]),
    ("LoraLoader", [(0, 0), None], ["MODEL", "CLIP"]),
    ("Any Switch (rgthree)", [(0, 0), (1, 0)], ["MODEL"]),
    ("KSampler", [(3, 0), None, None], ["LATENT"]),
]


@QUIET
@given(nodes=graphs())
@example(nodes=TWO_LOADERS_AT_A_SWITCH)
def test_workflows_in_api_format_pass_freeu_once(nodes: list[Any]) -> None:
    before = api(nodes)
    after = patched(copy.deepcopy(before))
    if after is None:
        return
    new = {key: node["inputs"].pop("model") for key, node in after.items() if key not in before}
    assert passed(nodes, {(int(key), slot) for key, slot in new.values()}) <= {1}
    for key, node in before.items():
        for name, value in node["inputs"].items():
            now = after[key]["inputs"][name]
            assert value == (new.get(now[0], now) if isinstance(now, list) else now)
            assert not isinstance(value, list) or (now[0] in new) == (value in new.values())
        assert after[key]["class_type"] == node["class_type"] and list(after[key]["inputs"]) == list(node["inputs"])


def test_a_loader_told_its_file_by_another_node_stays_the_loader() -> None:
    before = {
        "1": {"class_type": "Checkpoint Selector", "inputs": {"name": "a"}},
        "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": ["1", 0]}},
        "3": {"class_type": "KSampler", "inputs": {"model": ["2", 0]}},
    }
    after = patched(before)
    assert after is not None and after["4"]["inputs"]["model"] == ["2", 0] and after["2"] == before["2"]


def subgraphs(inside: bool) -> dict[str, Any]:
    """A sampler in a subgraph, with the loader inside or outside."""

    def link(number: int, source: int, target: int, slot: int = 0) -> dict[str, Any]:
        ends = {"origin_id": source, "origin_slot": slot, "target_id": target, "target_slot": 0}
        return {"id": number, **ends, "type": "MODEL"}

    model = {"name": "MODEL", "type": "MODEL"}
    loader = {"id": 1, "type": "UNETLoader", "widgets_values": ["a"], "outputs": [{**model, "links": [1]}]}
    lora = {"id": 5, "type": "LoraLoader", "inputs": [{**model, "link": 6}], "outputs": [{**model, "links": [7]}]}
    sampler = {"id": 7, "type": "KSampler", "inputs": [{**model, "link": 8}]}
    within = {
        "id": "ab-cd", "name": "Inner", "inputNode": {"id": -10}, "outputNode": {"id": -20}, "state": {"lastNodeId": 5},
        "nodes": [lora, *([{**loader, "outputs": [{**model, "links": [6]}]}] if inside else [])],
        "links": [link(6, 1 if inside else -10, 5), link(7, 5, -20)],
    }  # fmt: skip
    use = {
        "id": 3,
        "type": "ab-cd",
        "inputs": [{**model, "link": None if inside else 1}],
        "outputs": [{**model, "links": [8]}],
    }
    outside = [use, sampler] if inside else [loader, use, sampler]
    links = [[8, 3, 0, 7, 0, "MODEL"]] if inside else [[1, 1, 0, 3, 0, "MODEL"], [8, 3, 0, 7, 0, "MODEL"]]
    return {
        "nodes": outside,
        "links": links,
        "definitions": {"subgraphs": [within]},
        "last_node_id": 7,
        "last_link_id": 8,
    }


@pytest.mark.parametrize("inside", [False, True])
def test_models_are_followed_through_subgraphs(inside: bool) -> None:
    before = subgraphs(inside)
    text, done = workflow.patch(PRESET, json.dumps(before))
    after = json.loads(text)
    within = after["definitions"]["subgraphs"][0]
    assert len(done) == 1 and ("node Inner:8" if inside else "node 8") in done[0] and after["last_node_id"] == 8
    changed, other = (within, after) if inside else (after, within)
    node = changed["nodes"][-1]
    assert (node["id"], node["type"], node["outputs"][0]["links"]) == (8, "FreeU_V2", [6 if inside else 1])
    assert within["state"] == {"lastNodeId": 8, "lastLinkId": 9}
    if inside:
        assert within["links"][0] | {"origin_id": 1} == before["definitions"]["subgraphs"][0]["links"][0]
        assert within["links"][0]["origin_id"] == 8 and within["links"][-1]["target_id"] == 8
        assert other["nodes"] == before["nodes"] and "gets no model" not in done[0]
        assert json.loads(workflow.patch(PRESET, json.dumps(before), ["Inner:1"])[0]) == after
    else:
        assert other["nodes"] == before["definitions"]["subgraphs"][0]["nodes"]
    assert comfyui.parse(text)[""].factors == PRESET.factors and patched(after) == after
