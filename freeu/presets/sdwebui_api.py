"""The arguments of sd-webui-freeu in a request to the A1111 web UI's API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import jsons, sdwebui, webui
from .preset import Preset

FILE = "sdwebui-api.json"
PLACE = (
    "merge it into the JSON that you send to `/sdapi/v1/txt2img` or `img2img` of the A1111 web UI with sd-webui-freeu"
)
SCHEDULERS, SAMPLING = "webui", webui.HELD


def render(preset: Preset) -> str:
    """JSON with `alwayson_scripts`. Raises PresetError: the extension can't hold these factors."""
    return jsons.written(jsons.with_script(webui.request(preset.sampling), "freeu", _args(preset)))


def merge(preset: Preset, text: str) -> str:
    """A request with the extension's arguments in it; all else stays as it is."""
    return jsons.written(jsons.with_script(jsons.existing(text, "request of a web UI"), "freeu", _args(preset)))


def _args(preset: Preset) -> list[Any]:
    return [{"enable": True, **sdwebui.fields(preset.factors)}]


def parse(text: str) -> dict[str, Preset]:
    """The factors of a request's arguments, also where they are switched off."""
    request = jsons.mapping(text)
    scripts = request.get("alwayson_scripts")
    freeu = {key.lower(): value for key, value in scripts.items()}.get("freeu") if isinstance(scripts, dict) else None
    args = freeu.get("args") if isinstance(freeu, dict) else None
    if not isinstance(args, list) or not args or not isinstance(args[0], dict) or "stage_infos" not in args[0]:
        return {}
    return {"": replace(sdwebui.read(args[0]), sampling=webui.of_request(request))}
