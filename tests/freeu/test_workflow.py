"""FreeU put into ComfyUI workflows: what took the loader's model takes FreeU's, and nothing else changes."""

from __future__ import annotations

import copy
import json
import re
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


def test_a_link_that_leads_nowhere_is_left_alone() -> None:
    """Of the three that begin at the model one leads to no node; one to a slot that moved, whose input names it."""
    ghost, moved = [9, 4, 0, 99, 0, "MODEL"], [1, 4, 0, 3, 7, "MODEL"]
    text, done = workflow.patch(PRESET, json.dumps({**SAVED, "links": [ghost, moved, *SAVED["links"][1:]]}), ())
    links = {link[0]: link for link in json.loads(text)["links"]}
    assert done == ["put FreeU_V2, node 10, behind CheckpointLoaderSimple (node 4); 2 inputs rewired"]
    assert links[9] == ghost and links[1][1:3] == links[5][1:3] == [10, 0]


def told(found: Any, *loaders: str) -> str:
    """What is said of a workflow that is refused."""
    with pytest.raises(UserError) as caught:
        workflow.patch(PRESET, found if isinstance(found, str) else json.dumps(found), loaders)
    assert len(str(caught.value)) < 600
    return str(caught.value)


DEEP = '{"nodes": ' + "[" * 100_000
NODE, LINK = SAVED["nodes"][0], SAVED["links"][0]


@pytest.mark.parametrize("found, said", [
    ([], "no ComfyUI workflow"), ({}, "no ComfyUI workflow"), ({"a": 1}, "no ComfyUI workflow"),
    ("{", "not valid JSON"), (DEEP, "64 deep"), ({"4": API["4"]}, "no node that loads a model"),
    ({"4": {"class_type": "X"}}, "has no inputs"),
    ({"4": {"class_type": "X", "inputs": None}}, "has no inputs"), (["a\ud800"], "no ComfyUI workflow"),
    ({**SAVED, "links": [{"id": 1}]}, "layout"), ({**SAVED, "links": [[[], 4, 0, 3, 0, "MODEL"]]}, "layout"),
    ({**SAVED, "links": [[1, 4, None, 3, 0, "MODEL"]]}, "layout"), ({**SAVED, "links": [7]}, "layout"),
    ({**SAVED, "links": [[1, 4, 5, 3, 0, "MODEL"]]}, "begins at output 5 of node 4, which has 2"),
    ({**SAVED, "links": [[1, 4, -1, 3, 0, "MODEL"]]}, "begins at output -1"),
    ({**SAVED, "links": [[1, 4, 0, 99, 0, "MODEL"]]}, "no node that loads a model and feeds another"),
    ({**SAVED, "links": [[8, 4, 0, 3, 1, "MODEL"]]}, "no node that loads a model and feeds another"),
    ({**API, "3": {"class_type": "KSampler", "inputs": {"model": ["4", -1]}}}, "begins at output -1 of node '4'"),
    ({**SAVED, "nodes": [NODE, NODE]}, "two nodes .* id 4"), ({**SAVED, "nodes": [7]}, "layout"),
    ({**SAVED, "nodes": [{**NODE, "id": []}]}, "layout"), ({**SAVED, "nodes": [{**NODE, "outputs": 7}]}, "no list"),
    ({**SAVED, "nodes": [{**NODE, "inputs": [None]}]}, "damaged"),
    ({**SAVED, "definitions": {"subgraphs": [{}]}}, "subgraphs .* layout"),
    ({**SAVED, "definitions": {"subgraphs": 7}}, "no list"),
    ({**SAVED, "nodes": [*SAVED["nodes"], {"id": 7, "type": "FreeU", "properties": None}]}, "FreeU .* gets no model"),
])  # fmt: skip
def test_what_is_no_workflow_is_told(found: Any, said: str) -> None:
    assert re.search(said, told(found)), told(found)


def api(*nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Nodes numbered from 1."""
    return {str(i): {"class_type": kind, "inputs": inputs} for i, (kind, inputs) in enumerate(nodes, 1)}


LOADER, SAMPLER = ("UNETLoader", {"unet_name": "a"}), ("KSampler", {"model": ["1", 0]})
ENCODED = ("KSampler", {"model": ["1", 0], "positive": ["4", 0]}, "CLIPTextEncode", {"clip": ["5", 0]})


@pytest.mark.parametrize("more", [
    ("ModelSamplingFlux", {"model": ["1", 0]}), ("ModelSamplingSD3", {"model": ["1", 0]}),
    ("BasicGuider", {"model": ["1", 0], "conditioning": ["4", 0]}, "FluxGuidance", {}),
    ("KSampler", {"model": ["1", 0], "latent_image": ["4", 0]}, "EmptyHunyuanLatentVideo", {}),
    ("KSampler", {"model": ["1", 0], "positive": ["4", 0]}, "WanImageToVideo", {}),
    ("KSampler", {"model": ["1", 0], "positive": ["4", 0]}, "LTXVConditioning", {}),
    ("KSampler", {"model": ["1", 0], "positive": ["4", 0]}, "TextEncodeQwenImageEdit", {}),
    (*ENCODED, "CLIPLoader", {"type": "qwen_image"}), (*ENCODED, "TripleCLIPLoader", {}),
])  # fmt: skip
def test_transformers_are_refused(more: tuple[Any, ...]) -> None:
    nodes = [LOADER, SAMPLER, *zip(more[::2], more[1::2], strict=True)]
    assert "without skip connections" in told(api(*nodes)) == told(api(*nodes), "1")


def test_what_looks_like_a_transformers_node_does_not_count() -> None:
    """Nor does one that only made the picture that the U-Net begins from: it has a loader of its own."""
    found = api(
        LOADER, ("KSampler", {"model": ["1", 0], "positive": ["3", 0], "latent_image": ["6", 0]}),
        ("CLIPTextEncode", {"clip": ["4", 0], "text": ["5", 0]}), ("DualCLIPLoader", {"type": "sdxl"}),
        ("QwenVLDescribe", {"image": ["6", 0]}),
        ("KSampler", {"model": ["7", 0], "positive": ["8", 0]}), LOADER, ("FluxGuidance", {}),
    )  # fmt: skip
    text, done = workflow.patch(PRESET, json.dumps(found))
    assert [node["inputs"]["model"] for node in json.loads(text).values() if node["class_type"] == "FreeU_V2"] == [
        ["1", 0]
    ]
    assert "left out: UNETLoader (node 7)" in done[0] and "put FreeU_V2, node 9, behind UNETLoader (node 1)" in done[1]


def test_pipes_are_followed_and_those_that_hide_their_model_refused() -> None:
    """Impact's pipes have FreeU's model; easy-use's loader has none that FreeU could get."""
    piped = patched(api(LOADER, ("ToBasicPipe", {"model": ["1", 0]}), ("FromBasicPipe", {"basic_pipe": ["2", 0]}),
                        ("KSampler", {"model": ["3", 0]})))  # fmt: skip
    assert len(piped) == 5 and piped["2"]["inputs"]["model"] == ["5", 0] and piped["4"]["inputs"]["model"] == ["3", 0]
    hidden = api(("easy fullLoader", {"ckpt_name": "a"}), ("easy kSampler", {"pipe": ["1", 0]}), LOADER,
                 ("KSampler", {"model": ["3", 0]}))  # fmt: skip
    assert "easy fullLoader (node 1) hands its model on in a pipe" in told(hidden)
    assert len(patched(hidden, "3")) == 5


def test_a_loader_is_what_a_model_comes_from_whatever_it_is_called() -> None:
    found = api(
        ("My Checkpoint", {"x": float("nan")}), ("Load Nothing", {"model": ["1", 0]}), ("K", {"model": ["2", 0]})
    )
    text, done = workflow.patch(PRESET, json.dumps(found))
    assert done == ["put FreeU_V2, node 4, behind My Checkpoint (node 1); 1 input rewired"]
    assert '"x": NaN' in text  # as it was


def test_what_is_said_names_the_node() -> None:
    found = copy.deepcopy(SAVED)
    found["nodes"][0]["title"] = "Load SDXL"
    _, done = workflow.patch(PRESET, json.dumps(found))
    assert done == ['put FreeU_V2, node 10, behind CheckpointLoaderSimple "Load SDXL" (node 4); 2 inputs rewired']


def test_freeu_that_is_there_is_completed_or_refused() -> None:
    """A loader without one gets one; two in series, and nodes of other packages, would be FreeU twice."""
    half = api(
        LOADER, ("FreeU", {"model": ["1", 0]}), ("KSampler", {"model": ["2", 0]}), LOADER, ("K", {"model": ["4", 0]})
    )
    after = patched(half)
    assert after["2"]["class_type"] == after["6"]["class_type"] == "FreeU_V2" and after["6"]["inputs"]["model"] == [
        "4",
        0,
    ]
    half["5"]["inputs"]["model"] = ["1", 0]
    text, done = workflow.patch(PRESET, json.dumps(half))
    assert "the model comes to K (node 5) without FreeU, as it did" in done[1] and len(json.loads(text)) == 5
    series = api(
        LOADER, ("FreeU", {"model": ["1", 0]}), ("Lora", {"model": ["2", 0]}), ("FreeU_V2", {"model": ["3", 0]})
    )
    assert "FreeU, node 4, stands behind FreeU, node 2: remove one" in told(series)
    other = api(LOADER, ("FreeU (Advanced)", {"model": ["1", 0]}), ("K", {"model": ["2", 0]}))
    assert "FreeU (Advanced) (node 2) is FreeU of another kind" in told(other)


def test_a_lora_without_a_model_is_no_loader() -> None:
    """In the editor's format it shows what it takes; what is left over of an older version of a workflow feeds none."""
    found = copy.deepcopy(SAVED)
    lora = {"id": 8, "type": "LoraLoader", "inputs": [{"name": "model", "type": "MODEL", "link": None}]}
    found["nodes"] += [{**lora, "outputs": [{"name": "MODEL", "type": "MODEL", "links": [9]}]}]
    found["nodes"] += [{"id": 9, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 9}]}]
    found["links"] += [[9, 8, 0, 9, 0, "MODEL"]]
    assert [link[1] for link in patched(found)["links"] if link[3] == 10] == [4]


def test_what_goes_everywhere_goes_behind_freeu() -> None:
    """cg-use-everywhere: the LoRA's model has no link that is drawn, and comes from the loader."""
    found = {"nodes": [
        {"id": 1, "type": "UNETLoader", "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1]}]},
        {"id": 2, "type": "Anything Everywhere", "inputs": [{"name": "MODEL", "type": "*", "link": 1}]},
        {"id": 3, "type": "LoraLoader", "inputs": [{"name": "model", "type": "MODEL", "link": None}],
         "outputs": [{"name": "MODEL", "type": "MODEL", "links": [2]}]},
        {"id": 4, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 2}]},
    ], "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 3, 0, 4, 0, "MODEL"]]}  # fmt: skip
    after = patched(found)
    assert [node["type"] for node in after["nodes"][4:]] == ["FreeU_V2"] and after["links"][0] == [
        1,
        5,
        0,
        2,
        0,
        "MODEL",
    ]


def test_ten_thousand_nodes() -> None:
    """In time in proportion to them: with one pass for each loader this would take minutes."""
    found = api(*(each for i in range(1, 10_000, 2) for each in (LOADER, ("KSampler", {"model": [str(i), 0]}))))
    assert len(patched(found)) == 15_000


def test_a_preset_that_the_node_cannot_hold_is_refused() -> None:
    with pytest.raises(UserError, match="by block"):
        workflow.patch(replace(PRESET, factors=replace(PRESET.factors, stages="block")), json.dumps(API))
