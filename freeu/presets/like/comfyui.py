"""The settings of a ComfyUI workflow in API format, which its images hold: those of the pass that begins from an empty
latent.

Nodes and inputs are those of ComfyUI's nodes.py and comfy_extras/nodes_custom_sampler.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from configs import UserError, shortened

from .. import comfyui
from ..preset import Preset
from ..sampled import Taken

SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
SIGMAS = {"KarrasScheduler": "karras", "ExponentialScheduler": "exponential", "BetaSamplingScheduler": "beta"}
"""Nodes that make one schedule; BasicScheduler names its own."""
THROUGH = ("model", "clip", "conditioning", "conditioning_1", "conditioning_to", "samples", "latent_image", "guider")
PLAIN = (*SAMPLERS, *SIGMAS, "BasicScheduler", "KSamplerSelect", "CFGGuider", "CLIPTextEncode", "CLIPSetLastLayer")
PLAIN += ("CheckpointLoaderSimple", "UNETLoader", "VAELoader", "VAEDecode", "SaveImage", "PreviewImage", "RescaleCFG")
PLAIN += ("EmptyLatentImage", "FreeU", "FreeU_V2", "RandomNoise", "DualCLIPLoader", "CLIPLoader", "Reroute", "Note")
"""Nodes whose settings are taken, or that have none that changes the image's."""


@dataclass(frozen=True)
class Found:
    """What a workflow tells."""

    taken: Taken
    model: str | None
    presets: dict[str, Preset]


def taken_of(workflow: Mapping[str, Any]) -> Found | None:
    """None where it is no workflow. Raises UserError: it is one as the editor saves it, or has no sampler."""
    if isinstance(workflow.get("nodes"), list):
        raise UserError(
            "this is a workflow as ComfyUI's editor saves it: give the image itself, or the workflow in API format"
        )
    nodes = {key: node for key, node in workflow.items() if isinstance(node, dict) and "class_type" in node}
    if not nodes or not all(isinstance(node.get("inputs"), dict) for node in nodes.values()):
        return None
    first = _first(nodes)
    if first is None:
        raise UserError(f"the workflow has none of {', '.join(SAMPLERS)}: its settings can't be told")
    return _Reader(nodes, first).read()


class _Reader:
    def __init__(self, nodes: Mapping[str, Any], first: str) -> None:
        self.nodes, self.first, self.taken = nodes, first, Taken()

    def read(self) -> Found:
        taken, node = self.taken, self.nodes[self.first]
        guider = _source(self.nodes, node, "guider") or node
        chosen, sigmas = (_source(self.nodes, node, each) or node for each in ("sampler", "sigmas"))
        self._value("guidance", guider, "cfg")
        self._value("steps", sigmas, "steps")
        schedule = SIGMAS.get(str(sigmas["class_type"])) or sigmas["inputs"].get("scheduler")
        taken.schedule(chosen["inputs"].get("sampler_name"), schedule)
        negative = _along(self.nodes, _source(self.nodes, guider, "negative"))
        text = next((one for one in negative if "text" in one["inputs"]), None)
        if text is not None:
            self._value("negative_prompt", text, "text")
        for one in _along(self.nodes, _source(self.nodes, node, "latent_image")):
            if "width" in one["inputs"]:
                taken.take("size", [one["inputs"]["width"], one["inputs"].get("height")])
                break
        positive = _along(self.nodes, _source(self.nodes, guider, "positive"))
        for one in positive:
            if one["class_type"] == "CLIPSetLastLayer" and isinstance(one["inputs"].get("stop_at_clip_layer"), int):
                taken.take("clip_skip", -one["inputs"]["stop_at_clip_layer"])
                break
        chain = list(_along(self.nodes, guider if "model" in guider["inputs"] else sigmas))
        for one in chain:
            if one["class_type"] == "RescaleCFG":
                self._value("guidance_rescale", one, "multiplier")
        names = (one["inputs"].get(key) for one in chain for key in ("ckpt_name", "unet_name"))
        model = next((each for each in names if isinstance(each, str)), None)
        kept = {str(place): one for place, one in enumerate(chain)}
        self._left()
        return Found(taken, model, comfyui.parse(json.dumps(kept)))

    def _value(self, name: str, node: Mapping[str, Any], key: str) -> None:
        value = node["inputs"].get(key)
        if isinstance(value, list):
            self.taken.left.append(f"{key} of {shortened(str(node['class_type']), 60)}, which another node gives")
        else:
            self.taken.take(name, value)

    def _left(self) -> None:
        others = {str(node["class_type"]) for key, node in self.nodes.items() if key != self.first}
        again = sum(node["class_type"] in SAMPLERS for node in self.nodes.values()) - 1
        self.taken.left += [f"node {shortened(kind, 60)}" for kind in sorted(others - set(PLAIN))]
        self.taken.left += [f"{again} further passes"] if again else []


def _first(nodes: Mapping[str, Any]) -> str | None:
    """The sampler whose latent is an empty one; else the first there is."""
    found = [key for key, node in nodes.items() if node["class_type"] in SAMPLERS]
    for key in found:
        latent = _source(nodes, nodes[key], "latent_image")
        if latent is not None and "width" in latent["inputs"]:
            return key
    return found[0] if found else None


def _source(nodes: Mapping[str, Any], node: Mapping[str, Any], name: str) -> Any:
    """The node that an input comes from."""
    link = node["inputs"].get(name)
    return nodes.get(str(link[0])) if isinstance(link, list) and link else None


def _along(nodes: Mapping[str, Any], node: Any) -> Iterator[Any]:
    """A node and those that feed it what it hands on, each once."""
    seen: list[int] = []
    while node is not None and id(node) not in seen:
        seen.append(id(node))
        yield node
        node = next((found for name in THROUGH if (found := _source(nodes, node, name)) is not None), None)
