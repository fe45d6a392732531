"""ComfyUI behind a generator: opens the servers, binds the workflow, draws, and measures what the servers do."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from configs import UserError, parse_json, quoted, shortened
from configs.reading import shown
from freeu import schedulers
from freeu.factors import Factors, Version
from freeu.generate import GenerationError
from freeu.presets import embedded

from .bindings import FOUND_BY, ROLES, described
from .comfyui import PORT, ComfyUI
from .findings import STRONG, findings
from .generator import difference, drawn
from .http import Refused, Unreachable, address
from .pool import Watch
from .roles import Place, Workflow
from .template import OUTPUT, Template

SEEDS = 2**64
FOLDERS = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "unet_name": "diffusion_models",
    "control_net_name": "controlnet",
}
"""The folders of ComfyUI that the inputs with these names choose from."""


def read(file: Path, servers: Sequence[str]) -> dict[str, Any]:
    """A workflow in API format, of a JSON file or out of an image; one that the editor saved is converted by the first
    server, where it can do that.

    Raises:
        UserError: the file can't be read, or holds something else.
    """
    found = parse_json(embedded.workflow(file, "prompt", "workflow"), shown(file), nan=True, halves=True)
    if isinstance(found, dict) and isinstance(found.get("prompt"), dict):  # as it is sent to /prompt
        found = found["prompt"]
    if isinstance(found, dict) and isinstance(found.get("nodes"), list):
        server, saved = ComfyUI(address(servers[0], PORT)), found
        if (found := asked(server, lambda: server.converted(saved))) is None:
            raise UserError(
                f"{file} is a workflow as ComfyUI's editor saves it, and the server takes API format: export it with "
                "*Workflow → Export (API)* in ComfyUI's menu"
            )
    nodes = found.items() if isinstance(found, dict) else ()
    if not nodes or not all(isinstance(node, dict) and isinstance(node.get("inputs"), dict) for _, node in nodes):
        raise UserError(f"{file} is no ComfyUI workflow in API format: export it with *Workflow → Export (API)*")
    for key, node in nodes:
        if not isinstance(node.get("class_type"), str):
            raise UserError(f"{file}: node {key} has no class_type: export it with *Workflow → Export (API)*")
    return found


def opened(servers: Sequence[str]) -> list[ComfyUI]:
    """The servers, each asked whether it is one; of one version.

    Raises:
        UserError: nobody answers there, or another program.
    """
    found = [ComfyUI(address(text, PORT)) for text in servers]
    versions = [asked(server, server.version) for server in found]
    for server, version in zip(found, versions, strict=True):
        if version != versions[0]:
            raise UserError(
                f"{server} is ComfyUI {version}, and {found[0]} is {versions[0]}: bring them to one version"
            )
    return found


def asked(server: ComfyUI, question: Callable[[], Any]) -> Any:
    """The answer to one question before a study. Raises UserError where there is none."""
    try:
        return question()
    except Unreachable as error:
        raise UserError(
            f"{server} does not answer ({error}): start ComfyUI, or name its address with --server"
        ) from error
    except Refused as error:
        raise UserError(f"{server} answers with an error: {error}") from error


def check_known(server: ComfyUI, nodes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a server knows of the workflow's nodes.

    Raises:
        UserError: it lacks a class of node, or a file that a node names.
    """
    flow = Workflow(nodes)
    known: dict[str, dict[str, Any]] = asked(
        server, lambda: server.nodes(node["class_type"] for node in nodes.values())
    )
    for key, node in nodes.items():
        if node["class_type"] not in known:
            raise UserError(
                f"{server} has no node {shortened(node['class_type'], 60)} (node {key}): install the extension that "
                "brings it, or take it out of the workflow"
            )
        for name, value in node["inputs"].items():
            choices = choices_of(known[node["class_type"]], name)
            if choices is not None and isinstance(value, str) and value not in choices:
                raise UserError(f"{server} has no {name} {quoted(value)}, which {described(flow, key)} asks for")
    return known


def spec_of(known: Mapping[str, Any], name: str) -> tuple[Any, Mapping[str, Any]]:
    """(type, options) of a class's input; (None, {}) where it has none of that name."""
    inputs = known.get("input")
    for group in ("required", "optional"):
        found = (inputs.get(group) or {}).get(name) if isinstance(inputs, dict) else None
        if isinstance(found, list) and found:
            return found[0], found[1] if len(found) > 1 and isinstance(found[1], dict) else {}
    return None, {}


def choices_of(known: Mapping[str, Any], name: str) -> list[str] | None:
    """What an input can be set to, where the server lists it; but for files that are uploaded, as input images."""
    kind, options = spec_of(known, name)
    listed = kind if isinstance(kind, list) else options.get("options") if kind == "COMBO" else None
    if not isinstance(listed, list) or any("upload" in key for key in options) or options.get("remote"):
        return None
    return [str(one) for one in listed]


@dataclasses.dataclass(frozen=True)
class ComfyBackend:
    """See `freeu.servers.generator.Backend`."""

    servers: Sequence[ComfyUI]
    template: Template
    identity: str
    image_size: tuple[int, int]
    seeds: int = SEEDS

    @property
    def frames(self) -> int:
        return self.template.bindings.frames

    @property
    def evaluations(self) -> int:
        """Of the passes, each by its own steps and guidance; 1 of a pass that doesn't say."""
        flow = Workflow(self.template.filled("", 0, Factors(1, 1, 1, 1)))
        kept = frozenset(flow.nodes)
        steps = [_done(flow, place) for place in flow.numbers(FOUND_BY["steps"], kept)]
        guided = any(float(flow.value(place)) > 1 for place in flow.numbers(FOUND_BY["guidance"], kept))
        return self.frames * max(1, int(sum(steps))) * (2 if guided else 1)

    def check(self, factors: Factors) -> None:
        self.template.check(factors)

    def draw(self, server: int, image: int, prompt: str, seed: int, factors: Factors, watch: Watch) -> torch.Tensor:
        return self._sent(server, image, self.template.filled(prompt, seed, factors), watch)

    def _sent(self, server: int, image: int, workflow: Mapping[str, Any], watch: Watch) -> torch.Tensor:
        found = self.servers[server].draw(image, workflow, OUTPUT, watch)
        if len({each.shape for each in found}) > 1:
            raise GenerationError("the images of one run of the workflow differ in size")
        return torch.stack(found)

    def leave(self) -> None:
        for server in self.servers:
            server.leave()

    def with_settings(self, values: Mapping[str, Any]) -> ComfyBackend:
        """The same with other sampling settings, by name. Raises UserError where the workflow has no place for one."""
        values = by_role(values)
        for role in values:
            if not getattr(self.template.bindings, role, None):
                fix = f"name its input with --bind {role}=NODE.INPUT" if role in ROLES else "leave it out"
                raise UserError(f"no {role} was found in the workflow: {fix}")
        template = dataclasses.replace(self.template, settings={**self.template.settings, **values})
        size = (values.get("height", self.image_size[0]), values.get("width", self.image_size[1]))
        return dataclasses.replace(self, template=template, image_size=size)

    def measured(self, prompt: str, seed: int) -> tuple[str, ...]:
        """On the first server: the baseline, FreeU at factors of 1, strong factors, and the baseline again. In that
        order, since ComfyUI keeps the images of the workflow before, and would hand the same one out again."""
        version: Version = self.template.version or "v2"
        baseline = self.template.filled(prompt, seed, Factors(1, 1, 1, 1))
        strong = self.template.filled(prompt, seed, dataclasses.replace(STRONG, version=version))
        order = [baseline, self.template.neutral(prompt, seed, version), strong, baseline]
        found = []
        for workflow in order:  # one by one: the order counts
            found += drawn(
                self,
                [0],
                lambda server, image, watch, sent=workflow: self._sent(0, image, sent, watch),  # type: ignore[misc]
            )
        return findings(*(difference(found[0], other) for other in found[1:]))


def _done(flow: Workflow, place: Place) -> int:
    """The steps that a pass does, of those that stand there: some do a part."""
    steps, inputs = int(flow.value(place)), flow.inputs(place.node)
    first, last = (inputs.get(name) for name in ("start_at_step", "end_at_step"))
    return (min(last, steps) if type(last) is int else steps) - (first if type(first) is int else 0)


def by_role(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling settings, as the project names them, by the roles of a workflow's inputs. Raises UserError."""
    found = dict(values)
    if found.get("scheduler") == schedulers.DEFAULT:
        del found["scheduler"]  # the workflow's own
    if "scheduler" in found:
        if (names := schedulers.named(found["scheduler"]).comfyui) is None:
            raise UserError(f"ComfyUI has no scheduler {quoted(found['scheduler'])}: give another")
        found["sampler"], found["scheduler"] = names
    if "negative_prompt" in found:
        found["negative"] = found.pop("negative_prompt")
    if "size" in found:
        found["width"], found["height"] = found.pop("size")
    if "clip_skip" in found:  # ComfyUI counts the text encoder's layers from the end
        found["clip_skip"] = -found["clip_skip"]
    return found


def identified(servers: Sequence[ComfyUI], template: Template) -> str:
    """SHA-256 over the workflow, the names of its files with what the servers tell of them, and their version."""
    first = ""
    for server in servers:
        told = _told(server, template)
        if (found := template.identity(told)) != (first or found):
            raise UserError(f"{server} has other files of the workflow's names than {servers[0]}: make them the same")
        first = found
    return first


def _told(server: ComfyUI, template: Template) -> list[str]:
    """Its version, and of each file of the workflow its name and what the server reads in it."""
    said = [str(asked(server, server.version))]
    for _, name, file in template.files():
        found = None
        if (folder := FOLDERS.get(name)) is not None:
            found = asked(server, functools.partial(server.metadata, folder, file))
        said.append(f"{file} {json.dumps(found, sort_keys=True)}")
    return said
