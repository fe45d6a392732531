"""From `--model comfyui:WORKFLOW.json` to a model's spec and its generator.

The spec is made in two steps: of the file alone, and then with the servers' answers, when what is wrong is told before
anything is drawn. After that its `bind` names every binding, so that nothing is guessed twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freeu.models.catalogue import of_name
from freeu.models.spec import ModelSpec

from . import comfyui_backend
from .bindings import Bindings, bound, lines
from .comfyui import ComfyUI
from .generator import ServerGenerator
from .roles import Workflow
from .template import Template, check_version, made

HOME = {"comfyui": "http://127.0.0.1:8188"}
"""Where each kind of server is, unless told."""
UNKNOWN_SIZE = 512


def unconnected(source: str) -> ModelSpec:
    """The spec of `comfyui:FILE`, with the scorers and defaults of Stable Diffusion 1.5; asks no server."""
    kind, _, file = source.partition(":")
    place = Path(file).expanduser()
    own: dict[str, Any] = {"name": place.stem, "kind": kind, "source": str(place.resolve()), "base": Path.cwd()}
    return of_name("sd15").model_copy(update=own | {"published": None, "licence": None, "memory_gb": None})


def connected(spec: ModelSpec) -> ModelSpec:
    """The spec with what its workflow and servers say: size, steps, guidance, frames, and every binding in `bind`.

    Raises:
        UserError: the workflow can't be read, bound or run there; no server answers.
    """
    nodes = comfyui_backend.read(spec.folder)
    servers = comfyui_backend.opened(spec.servers or (HOME[spec.kind],))
    flow = Workflow(nodes)
    bindings = bound(flow, spec.bind)
    template = made(nodes, bindings)
    for server in servers:
        comfyui_backend.check_known(server, template.nodes)
    known = {
        "steps": _number(bindings.values(flow, "steps"), int, 1, 1000),
        "guidance": _number(bindings.values(flow, "guidance"), float, 0, 100),
        "resolution": max((*bindings.values(flow, "width"), *bindings.values(flow, "height")), default=None),
    }
    found = {key: value for key, value in known.items() if value is not None}
    return spec.model_copy(
        update={
            "resolution": UNKNOWN_SIZE,
            **found,
            "frames": bindings.frames,
            "servers": tuple(spec.servers or (HOME[spec.kind],)),
            "bind": bindings.written(),
        }
    )


def explained(spec: ModelSpec) -> list[str]:
    """For the plan: what is bound in a connected spec's workflow, and what is put in; asks no server."""
    flow, bindings, template = _made(spec)
    return [*lines(flow, bindings), *template.done]


def check_version_of(spec: ModelSpec, version: str) -> None:
    """Raises UserError where a connected spec's workflow has FreeU in another version."""
    check_version(_made(spec)[2], version)


def load(spec: ModelSpec) -> ServerGenerator:
    """The generator of a connected spec; see `freeu.models.load_generator`."""
    flow, bindings, template = _made(spec)
    servers: list[ComfyUI] = comfyui_backend.opened(spec.servers)
    size = [bindings.values(flow, role) for role in ("height", "width")]
    backend = comfyui_backend.ComfyBackend(
        servers,
        template,
        comfyui_backend.identified(servers, template),
        (int(size[0][0]), int(size[1][0])) if all(size) else (spec.resolution, spec.resolution),
    )
    wanted = {"steps": spec.steps, "guidance": spec.guidance}
    settings = {role: value for role, value in wanted.items() if value not in bindings.values(flow, role)}
    unset = {role: value for role, value in settings.items() if getattr(bindings, role)}
    return ServerGenerator(spec.name, backend.with_settings(unset))


def _made(spec: ModelSpec) -> tuple[Workflow, Bindings, Template]:
    nodes = comfyui_backend.read(spec.folder)
    flow = Workflow(nodes)
    bindings = bound(flow, spec.bind)
    return flow, bindings, made(nodes, bindings)


def _number(values: list[Any], kind: type, low: float, high: float) -> Any:
    """The first of some values, where it is within bounds."""
    found = next(iter(values), None)
    return kind(found) if found is not None and low <= found <= high else None
