"""The arguments of Forge's FreeU in a request to its API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import forge, jsons, webui
from .preset import Preset

FILE = "forge-api.json"
PLACE = "merge it into the JSON that you send to `/sdapi/v1/txt2img` or `img2img` of Forge"
TITLE = "FreeU Integrated (SD 1.x, SD 2.x, SDXL)"
SCHEDULERS, SAMPLING = "webui", webui.HELD


def render(preset: Preset) -> str:
    """JSON with `alwayson_scripts`. Raises PresetError: Forge can't hold these factors."""
    return jsons.written(jsons.with_script(webui.request(preset.sampling), TITLE, _args(preset)))


def merge(preset: Preset, text: str) -> str:
    """A request with the arguments of Forge's FreeU in it; all else stays as it is."""
    return jsons.written(jsons.with_script(jsons.existing(text, "request of Forge"), TITLE, _args(preset)))


def _args(preset: Preset) -> list[Any]:
    return [True, *forge.row(preset)[1:]]


def parse(text: str) -> dict[str, Preset]:
    """The factors of a request's arguments, also where they are switched off."""
    request = jsons.mapping(text)
    scripts = request.get("alwayson_scripts")
    script = (
        {key.lower(): value for key, value in scripts.items()}.get(TITLE.lower()) if isinstance(scripts, dict) else None
    )
    args = script.get("args") if isinstance(script, dict) else None
    if not isinstance(args, list) or len(args) != 7:
        return {}
    return {"": replace(forge.read(args[1:]), sampling=webui.of_request(request))}
