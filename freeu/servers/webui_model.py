"""`--model webui:REQUEST.json` or an image's settings: a request for the API of the A1111 web UI, Forge or SD.Next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs import UserError
from freeu.models.spec import ModelSpec
from freeu.presets.tool import Tool
from freeu.sampling import Sampling

from .generator import ServerGenerator
from .requests import PROMPT, TAG, number, read
from .sampled import changes, known_scheduler, spec_fields
from .webui_backend import KINDS, WebUIBackend, check_known, identified, opened

HOME, EXAMPLE = "http://127.0.0.1:7860", "REQUEST.json"
SIDE, STEPS, GUIDANCE = 512, 20, 7.0
"""What the web UI takes where a request has nothing."""


def connected(spec: ModelSpec) -> ModelSpec:
    """See `freeu.servers.opening`; the kind of FreeU stands in `bind`."""
    if spec.bind and not spec.bind[0].startswith("freeu="):
        raise UserError(f"--bind {spec.bind[0]} goes with a ComfyUI workflow: a request's fields have their names")
    request = read(spec.folder)
    servers, kind = opened(spec.servers)
    for server in servers:
        check_known(server, request)
    return spec.model_copy(update={"bind": (f"freeu={kind}",), **spec_fields(_sampled(request))})


def explained(spec: ModelSpec) -> list[str]:
    """See `freeu.servers.opening`."""
    words = str(read(spec.folder).get("prompt", ""))
    place = f"in place of {PROMPT} in {words!r}" if PROMPT in words else "in place of the request's"
    if PROMPT not in words and TAG.search(words):
        place += f", before {' '.join(TAG.findall(words))}"
    return [f"prompt and seed of the request: each prompt {place}", f"FreeU: {KINDS[_kind(spec)].shown}"]


def check_settings(spec: ModelSpec, values: Mapping[str, Any]) -> None:
    """See `freeu.servers.opening`."""
    WebUIBackend([], read(spec.folder), _kind(spec), "", (0, 0)).with_settings(values)


def tool(spec: ModelSpec) -> Tool:
    """What the servers' FreeU can do."""
    return KINDS[_kind(spec)].tool


def load(spec: ModelSpec) -> ServerGenerator:
    """See `freeu.servers.opening`."""
    request = read(spec.folder)
    servers, kind = opened(spec.servers)
    if kind != _kind(spec):
        raise UserError(f"{servers[0]} has {KINDS[kind].shown} now, and the study was begun with another FreeU")
    size = int(number(request, "height", SIDE)), int(number(request, "width", SIDE))
    backend = WebUIBackend(servers, request, kind, identified(servers, request, kind), size)
    return ServerGenerator(spec.name, backend.with_settings(changes(spec, _sampled(request))))


def _sampled(request: Mapping[str, Any]) -> Sampling:
    """The sampling settings that a request has, as far as they are known by the project's names."""
    width, height = (int(number(request, name, SIDE)) // 8 * 8 for name in ("width", "height"))
    sampler = request.get("sampler_name")
    negative = request.get("negative_prompt")
    return Sampling(
        guidance=float(number(request, "cfg_scale", GUIDANCE)),
        steps=int(number(request, "steps", STEPS)),
        scheduler=known_scheduler(sampler, request.get("scheduler") or "Automatic"),
        clip_skip=(request.get("override_settings") or {}).get("CLIP_stop_at_last_layers"),
        negative_prompt=negative if isinstance(negative, str) else None,
        size=(width, height),
    )


def _kind(spec: ModelSpec) -> str:
    return spec.bind[0].partition("=")[2]
