"""`--model comfyui:WORKFLOW.json`: a workflow bound to what a study sets, on the servers that run it."""

from __future__ import annotations

import dataclasses
from typing import Any

from freeu.models.spec import ModelSpec
from freeu.presets.comfyui import TOOL
from freeu.presets.tool import Tool

from .bindings import Bindings, bound, lines
from .comfyui_backend import ComfyBackend, check_known, identified, opened, read
from .generator import ServerGenerator
from .roles import Workflow
from .template import Template, made

HOME, EXAMPLE = "http://127.0.0.1:8188", "WORKFLOW.json"
UNKNOWN_SIZE = 512


def connected(spec: ModelSpec) -> ModelSpec:
    """See `freeu.servers.opening`."""
    flow, bindings, template = _made(spec)
    for server in opened(spec.servers):
        check_known(server, template.nodes)
    sides = [*bindings.values(flow, "width"), *bindings.values(flow, "height")]
    known = {
        "steps": _number(bindings.values(flow, "steps"), int, 1, 1000),
        "guidance": _number(bindings.values(flow, "guidance"), float, 0, 100),
        "resolution": max(sides, default=UNKNOWN_SIZE),
        "frames": bindings.frames,
        "bind": bindings.written(),
    }
    return spec.model_copy(update={key: value for key, value in known.items() if value is not None})


def explained(spec: ModelSpec) -> list[str]:
    """See `freeu.servers.opening`."""
    flow, bindings, template = _made(spec)
    return [*lines(flow, bindings), *template.done]


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
    wanted = {"steps": spec.steps, "guidance": spec.guidance}
    changed = {
        role: value
        for role, value in wanted.items()
        if getattr(bindings, role) and value not in bindings.values(flow, role)
    }
    return ServerGenerator(spec.name, backend.with_settings(changed))


def _made(spec: ModelSpec) -> tuple[Workflow, Bindings, Template]:
    nodes = read(spec.folder, spec.servers)
    flow = Workflow(nodes)
    bindings = bound(flow, spec.bind)
    return flow, bindings, made(nodes, bindings)


def _number(values: list[Any], kind: type, low: float, high: float) -> Any:
    """The first of some values, where it is within bounds."""
    found = next(iter(values), None)
    return kind(found) if found is not None and low <= found <= high else None
