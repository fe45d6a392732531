"""`--model comfyui:WORKFLOW.json`: a workflow bound to what a study sets, on the servers that run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from freeu.models.spec import ModelSpec
from freeu.presets.comfyui import TOOL
from freeu.presets.tool import Tool
from freeu.sampling import Sampling

from .bindings import Bindings, bound, lines
from .comfyui_backend import ComfyBackend, check_known, identified, opened, read
from .generator import ServerGenerator
from .roles import Workflow
from .sampled import changes, known_scheduler, spec_fields
from .template import Template, made

HOME, EXAMPLE = "http://127.0.0.1:8188", "WORKFLOW.json"
UNKNOWN_SIZE = 512


def connected(spec: ModelSpec) -> ModelSpec:
    """See `freeu.servers.opening`."""
    flow, bindings, template = _made(spec)
    for server in opened(spec.servers):
        check_known(server, template.nodes)
    found = {"resolution": UNKNOWN_SIZE, "frames": bindings.frames, "bind": bindings.written()}
    return spec.model_copy(update=found | spec_fields(_sampled(flow, bindings)))


def explained(spec: ModelSpec) -> list[str]:
    """See `freeu.servers.opening`."""
    flow, bindings, template = _made(spec)
    return [*lines(flow, bindings), *template.done]


def check_settings(spec: ModelSpec, values: Mapping[str, Any]) -> None:
    """See `freeu.servers.opening`."""
    ComfyBackend([], _made(spec)[2], "", (0, 0)).with_settings(values)


def tool(spec: ModelSpec) -> Tool:
    """What ComfyUI's nodes can do, in the version that the workflow has."""
    version = _made(spec)[2].version
    return TOOL if version is None else dataclasses.replace(TOOL, name="the workflow's FreeU node", versions=(version,))


def load(spec: ModelSpec) -> ServerGenerator:
    """See `freeu.servers.opening`."""
    flow, bindings, template = _made(spec)
    servers = opened(spec.servers)
    height, width = (bindings.values(flow, role) for role in ("height", "width"))
    size = (int(height[0]), int(width[0])) if height and width else (spec.resolution, spec.resolution)
    backend = ComfyBackend(servers, template, identified(servers, template), size)
    return ServerGenerator(spec.name, backend.with_settings(changes(spec, _sampled(flow, bindings))))


def _made(spec: ModelSpec) -> tuple[Workflow, Bindings, Template]:
    nodes = read(spec.folder, spec.servers)
    flow = Workflow(nodes)
    bindings = bound(flow, spec.bind)
    return flow, bindings, made(nodes, bindings)


def _sampled(flow: Workflow, bindings: Bindings) -> Sampling:
    """The sampling settings that the workflow has, as far as they are known by the project's names."""

    def first(role: str) -> Any:
        return next(iter(bindings.values(flow, role)), None)

    sides = _sides(first("width"), first("height"))
    skipped = _number([first("clip_skip")], int, -100, -1)
    negative = first("negative")
    return Sampling(
        guidance=_number([first("guidance")], float, 0, 100),
        steps=_number([first("steps")], int, 1, 1000),
        scheduler=known_scheduler(first("sampler"), first("scheduler")),
        clip_skip=None if skipped is None else -skipped,
        negative_prompt=negative if isinstance(negative, str) else None,
        size=sides,
    )


def _sides(width: Any, height: Any) -> tuple[int, int] | None:
    fit = all(type(each) is int and 8 <= each <= 8192 and each % 8 == 0 for each in (width, height))
    return (width, height) if fit else None


def _number(values: list[Any], kind: type, low: float, high: float) -> Any:
    """The first of some values, where it is within bounds."""
    found = next(iter(values), None)
    return kind(found) if found is not None and low <= found <= high else None
