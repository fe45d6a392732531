"""A workflow made ready to be sent: FreeU in it, one image coming out, and everything cut off that is not needed."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs import UserError
from freeu.factors import IDENTITY, Factors, Version
from freeu.presets import Preset, workflow
from freeu.presets.comfyui import NODES, TOOL
from freeu.presets.tool import NUMBERS

from .bindings import Bindings, described
from .requests import PROMPT
from .roles import Workflow, link

OUTPUT = "freeu_search_image"
"""The id of the node that images are taken from."""
VERSIONS: dict[str, Version] = {"FreeU": "v1", "FreeU_V2": "v2"}
FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft")


@dataclass(frozen=True)
class Template:
    """What is sent for each image, but for its prompt, seed and factors.

    Attributes:
        nodes: those that the image depends on, with FreeU and PreviewImage.
        freeu: the ids of FreeU's nodes. version: that of those which the user's workflow has; None where all are ours.
        done: what was put in, a sentence each.
        settings: by role a value that differs from the workflow's.
    """

    nodes: Mapping[str, Any]
    bindings: Bindings
    freeu: tuple[str, ...]
    version: Version | None
    done: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, factors: Factors) -> None:
        """Raises UserError where the nodes would make another method of these factors."""
        if factors.identity:
            return
        TOOL.check(factors)
        if self.version not in (None, factors.version):
            raise UserError(
                f"the workflow has FreeU in version {self.version}, and {factors.version} is asked for: give --version "
                f"{self.version}, or take the node out of the workflow"
            )

    def filled(self, prompt: str, seed: int, factors: Factors) -> dict[str, Any]:
        """The workflow of one image; with the baseline's factors FreeU is left out. Raises UserError."""
        self.check(factors)
        nodes: dict[str, Any] = copy.deepcopy(dict(self.nodes))
        values = {"prompt": prompt, "seed": seed, **self.settings}
        for role, value in values.items():
            for place in getattr(self.bindings, role):
                inputs = nodes[place.node]["inputs"]
                if role == "steps":
                    inputs |= steps_between(inputs, inputs[place.input], value)
                pattern = inputs[place.input]
                slotted = role == "prompt" and isinstance(pattern, str) and PROMPT in pattern
                inputs[place.input] = pattern.replace(PROMPT, value) if slotted else value
        if factors.identity:
            for key in self.freeu:
                bypass(nodes, key)
            return nodes
        for key in self.freeu:
            nodes[key]["class_type"] = NODES[factors.version]
            nodes[key]["inputs"] |= {name: getattr(factors, name) for name in NUMBERS}
        return nodes

    def neutral(self, prompt: str, seed: int, version: Version) -> dict[str, Any]:
        """The workflow with FreeU in it at factors of 1, which has to give the baseline's image."""
        nodes = self.filled(prompt, seed, Factors(2, 2, 0.5, 0.5, version))
        for key in self.freeu:
            nodes[key]["inputs"] |= dict.fromkeys(NUMBERS, 1.0)
        return nodes

    def identity(self, told: Sequence[str] = ()) -> str:
        """SHA-256, in hex, of what images depend on beside prompt, seed, factors, steps and guidance.

        told: what the server says of its version and files.
        """
        nodes = self.filled("", 0, IDENTITY)
        for role in ("guidance", "steps"):
            for place in getattr(self.bindings, role):
                nodes[place.node]["inputs"][place.input] = None
        plain = [[node["class_type"], node["inputs"]] for _, node in sorted(nodes.items())]
        return hashlib.sha256(json.dumps([plain, list(told)], sort_keys=True).encode()).hexdigest()

    def files(self) -> list[tuple[str, str, str]]:
        """(node, input, file) of the model files that the workflow names."""
        return [
            (key, name, value)
            for key, node in sorted(self.nodes.items())
            for name, value in sorted(node["inputs"].items())
            if isinstance(value, str) and value.lower().endswith(FILES)
        ]


def made(nodes: Mapping[str, Any], bindings: Bindings) -> Template:
    """The template of a workflow.

    Raises:
        UserError: FreeU can't be put in, as with a transformer, or stands there in both versions.
    """
    flow = Workflow(nodes)
    image = bindings.image[0]
    wanted = flow.ancestors(image.node)
    kept = {key: copy.deepcopy(dict(node)) for key, node in nodes.items() if key in wanted}
    own = {key: VERSIONS[kept[key]["class_type"]] for key in kept if kept[key]["class_type"] in VERSIONS}
    named = [place.node for place in bindings.freeu]
    done: list[str] = []
    for key in [key for key in own if named and key not in named]:
        done.append(f"left alone: {described(flow, key)}")
    loaders = [key for key in named if key not in own]
    chosen = [key for key in own if not named or key in named]
    freeu = list(chosen)
    if loaders or not named:
        text = json.dumps(kept)
        preset = Preset(Factors(1.1, 1.1, 0.9, 0.9, own[chosen[0]] if chosen else "v2"), "")
        patched, said = workflow.patch(preset, text, loaders)
        found = json.loads(patched)
        for key in [key for key in found if key not in kept]:
            freeu.append(key)
            done.append(f"FreeU goes behind {described(Workflow(found), found[key]['inputs']['model'][0])}")
        kept = found
        done += [line for line in said if not line.startswith(("put ", "replaced "))]
    if not freeu:
        raise UserError(
            "FreeU is nowhere in the workflow, and nowhere it could be put: name a loader with --bind freeu="
        )
    versions = {own[key] for key in chosen}
    if len(versions) > 1:
        raise UserError("the workflow has FreeU and FreeU_V2: make them one, or choose with --bind freeu=NODE")
    if bindings.frames == 1:
        for key in flow.latents(frozenset(kept)):
            if isinstance(kept[key]["inputs"].get("batch_size"), int) and kept[key]["inputs"]["batch_size"] != 1:
                kept[key]["inputs"]["batch_size"] = 1
                done.append(f"one image at a time: batch_size of {described(flow, key)} is 1")
    kept[OUTPUT] = {"class_type": "PreviewImage", "inputs": {"images": [image.node, int(image.input)]}}
    return Template(kept, bindings, tuple(freeu), versions.pop() if versions else None, tuple(done))


def bypass(nodes: dict[str, Any], key: str) -> None:
    """Takes a node out: what took its model takes the one that it took."""
    source = nodes.pop(key)["inputs"]["model"]
    for node in nodes.values():
        for name, value in node["inputs"].items():
            found = link(value)
            if found is not None and found[0] == key:
                node["inputs"][name] = list(source)


def steps_between(inputs: Mapping[str, Any], before: Any, steps: int) -> dict[str, int]:
    """The first and last steps of a sampler that does a part of them, moved with their number."""
    found = {}
    for name in ("start_at_step", "end_at_step"):
        value = inputs.get(name)
        if type(value) is int and type(before) is int and 0 < value < before:
            found[name] = min(steps, max(1, round(value * steps / before)))
    return found
