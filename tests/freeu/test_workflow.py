"""FreeU put into ComfyUI workflows: what took the loader's model takes FreeU's, and nothing else changes."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from configs import UserError
from freeu.factors import Factors
from freeu.presets import Preset, comfyui, workflow

PRESET = Preset(Factors(1.3, 1.4, 0.9, 0.0), "m")
NUMBERS = {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.0}
API: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"model": ["10", 0], "seed": 1, "positive": ["6", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "</script>\u202e\"'"}},
    "10": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "clip": ["4", 1], "lora_name": "b"}},
    "11": {"class_type": "KSampler", "inputs": {"model": ["12", 0], "seed": 1}},
    "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "c"}},
    "13": {"class_type": "ImageUpscaleWithModel", "inputs": {"upscale_model": ["14", 0]}},
    "14": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "d"}},
}
SAVED: dict[str, Any] = {
    "last_node_id": 9, "last_link_id": 9, "version": 0.4, "extra": {"kept": 1},
    "nodes": [
        {"id": 4, "type": "CheckpointLoaderSimple", "pos": [10, 400], "outputs": [
            {"name": "MODEL", "type": "MODEL", "links": [1, 5]}, {"name": "CLIP", "type": "CLIP", "links": [3]}]},
        {"id": 3, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 1}]},
        {"id": 5, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 5}]},
        {"id": 6, "type": "CLIPTextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 3}]},
    ],
    "links": [[1, 4, 0, 3, 0, "MODEL"], [5, 4, 0, 5, 0, "MODEL"], [3, 4, 1, 6, 0, "CLIP"]],
}  # fmt: skip


def patched(found: Any, *loaders: str, preset: Preset = PRESET) -> dict[str, Any]:
    text, done = workflow.patch(preset, json.dumps(found), loaders)
    assert done
    result: dict[str, Any] = json.loads(text)
    return result


def test_every_loader_feeds_its_own_freeu() -> None:
    after = patched(API)
    new = {key: node for key, node in after.items() if key not in API}
    assert {tuple(node["inputs"].pop("model")) for node in copy.deepcopy(new).values()} == {("4", 0), ("12", 0)}
    assert all(node["class_type"] == "FreeU_V2" and NUMBERS.items() <= node["inputs"].items() for node in new.values())
    by_loader = {node["inputs"]["model"][0]: key for key, node in new.items()}
    wanted = copy.deepcopy(API)
    wanted["10"]["inputs"]["model"] = [by_loader["4"], 0]
    wanted["11"]["inputs"]["model"] = [by_loader["12"], 0]
    assert {key: after[key] for key in API} == wanted  # the LoRA too, not the clip, not the upscaler


def test_one_loader_can_be_told() -> None:
    after = patched(API, "12")
    assert len(after) == len(API) + 1 and after["10"] == API["10"]
    with pytest.raises(UserError, match=r"unknown loader of a model '13'.*known: 12, 4"):
        workflow.patch(PRESET, json.dumps(API), ["13"])


def test_twice_changes_nothing_and_other_factors_replace() -> None:
    once = patched(API)
    assert patched(once) == once
    v1 = patched(once, preset=Preset(Factors(1.1, 1.2, 0.8, 0.3, version="v1"), "m"))
    changed = [key for key in once if v1[key] != once[key]]
    assert len(changed) == 2 and {v1[key]["class_type"] for key in changed} == {"FreeU"}
    found = comfyui.parse(json.dumps(v1))
    assert {(p.factors.b1, p.factors.s2, p.factors.version) for p in found.values()} == {(1.1, 0.3, "v1")}
    with pytest.raises(UserError, match="behind loader 4 already"):
        workflow.patch(PRESET, json.dumps(once), ["4"])


def test_a_saved_workflow_is_wired_on_both_ends() -> None:
    after = patched(SAVED)
    node = next(node for node in after["nodes"] if node["type"] == "FreeU_V2")
    assert node["widgets_values"] == [1.3, 1.4, 0.9, 0.0] and node["id"] == after["last_node_id"] == 10
    links = {link[0]: link for link in after["links"]}
    assert links[10] == [10, 4, 0, 10, 0, "MODEL"] and node["inputs"][0]["link"] == 10 == after["last_link_id"]
    assert (links[1][1:], links[5][1:]) == ([10, 0, 3, 0, "MODEL"], [10, 0, 5, 0, "MODEL"])
    assert node["outputs"][0]["links"] == [1, 5] and links[3] == SAVED["links"][2]
    assert [out["links"] for out in after["nodes"][0]["outputs"]] == [[10], [3]]
    assert after["nodes"][1:4] == SAVED["nodes"][1:] and after["extra"] == {"kept": 1}
    assert patched(after) == patched(patched(after))
    assert comfyui.parse(json.dumps(after))[""].factors == PRESET.factors


@pytest.mark.parametrize("found, said", [
    ([], "no ComfyUI workflow"), ({}, "no ComfyUI workflow"), ({"a": 1}, "no ComfyUI workflow"),
    ({"4": API["4"]}, "no node that loads a model"), ({"4": {"class_type": "X"}}, "has no inputs"),
    ({**SAVED, "definitions": {"subgraphs": [{}]}}, "subgraphs"), ({**SAVED, "links": [{"id": 1}]}, "layout"),
])  # fmt: skip
def test_what_is_no_workflow_is_told(found: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        workflow.patch(PRESET, json.dumps(found))


def test_a_preset_that_the_node_cannot_hold_is_refused() -> None:
    with pytest.raises(UserError, match="by block"):
        workflow.patch(replace(PRESET, factors=replace(PRESET.factors, stages="block")), json.dumps(API))
