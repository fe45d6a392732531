"""InvokeAI's node `freeu`: diffusers' FreeU, so version 1 with stages by block, and no factor of 0. The node
`denoise_latents` takes the sampling settings, and an image's metadata names them likewise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from configs import shortened
from freeu.sampling import Sampling

from . import jsons
from .preset import Preset
from .sampled import Taken, invokeai_name, scheduler_of
from .tool import NUMBERS, Tool, found, numbers

TOOL = Tool("InvokeAI's FreeU", versions=("v1",), stages=("block",), b=(-1, 3), s=(-1, 3), zero=False)
FILE = "invokeai.json"
PLACE = (
    "a node for the `nodes` of an InvokeAI graph; in the workflow editor add the node *FreeU* between the model "
    "loader's UNet and the denoising, and type the four numbers"
)


SCHEDULERS = "invokeai"
SAMPLING = ("guidance", "guidance_rescale", "steps", "scheduler", "clip_skip")
KEYS = {"guidance": "cfg_scale", "guidance_rescale": "cfg_rescale_multiplier", "steps": "steps"}
ACTING = (
    "seamless_x",
    "seamless_y",
    "loras",
    "controlnets",
    "ipAdapters",
    "t2iAdapters",
    "vae",
    "refiner_model",
    "hrf_enabled",
    "strength",
)
"""What changes an image and has no setting here."""


def render(preset: Preset) -> str:
    """JSON of the node, and of those that hold the settings. Raises PresetError: InvokeAI can't hold these factors."""
    TOOL.check(preset.factors)
    nodes: dict[str, dict[str, Any]] = {"freeu": numbers(preset), **_nodes(preset.sampling)}
    return jsons.written({kind: {"id": kind, "type": kind, **values} for kind, values in nodes.items()})


def parse(text: str) -> dict[str, Preset]:
    """The factors of the nodes of type `freeu` in a graph, or in a workflow as the editor saves it, by their ids."""
    every = list(jsons.mappings(jsons.mapping(text)))
    nodes = [one for one in every if one.get("type") == "freeu"]
    if not nodes:
        return {}
    sampling = _sampling(every)
    return {
        f"{number} {node.get('id', '')}" if len(nodes) > 1 else "": replace(
            found(_values(node, NUMBERS), "v1", "block"), sampling=sampling
        )
        for number, node in enumerate(nodes, 1)
    }


def taken_of(metadata: Mapping[str, Any]) -> Taken:
    """The settings of an image's metadata, which counts skipped layers from 0."""
    taken = Taken()
    for name, key in KEYS.items():
        taken.take(name, metadata.get(key))
    taken.take("negative_prompt", metadata.get("negative_prompt"))
    taken.take("clip_skip", _one_more(metadata.get("clip_skip")))
    if metadata.get("width") is not None:
        taken.take("size", [metadata["width"], metadata.get("height")])
    taken.schedule(metadata.get("scheduler"))
    taken.left += [f"{key}: {shortened(str(metadata[key]), 60)}" for key in ACTING if metadata.get(key)]
    return taken


def _nodes(sampling: Sampling) -> dict[str, dict[str, Any]]:
    values = {key: getattr(sampling, name) for name, key in KEYS.items()}
    values["scheduler"] = invokeai_name(scheduler_of(sampling))
    kept = {key: value for key, value in values.items() if value is not None}
    nodes = {"denoise_latents": kept} if kept else {}
    if sampling.clip_skip is not None:
        nodes["clip_skip"] = {"skipped_layers": sampling.clip_skip - 1}
    return nodes


def _sampling(nodes: list[dict[str, Any]]) -> Sampling:
    """Of a graph that denoises once; none where it does so several times."""
    kinds = {kind: [one for one in nodes if one.get("type") == kind] for kind in ("denoise_latents", "clip_skip")}
    if len(kinds["denoise_latents"]) > 1:
        return Sampling()
    values: dict[str, Any] = {}
    for one in kinds["denoise_latents"]:
        values |= _values(one, (*KEYS.values(), "scheduler"))
    for one in kinds["clip_skip"][:1]:
        values["clip_skip"] = _values(one, ("skipped_layers",)).get("skipped_layers")
    return taken_of(values).sampling


def _one_more(value: Any) -> Any:
    return value + 1 if isinstance(value, int) and not isinstance(value, bool) else value


def _values(node: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    inputs = node["inputs"] if isinstance(node.get("inputs"), dict) else node
    values = {name: inputs[name] for name in names if name in inputs}
    return {name: each.get("value") if isinstance(each, dict) else each for name, each in values.items()}
