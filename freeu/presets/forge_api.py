"""The arguments of Forge's FreeU in a request to its API."""

from __future__ import annotations

from . import forge, jsons
from .preset import Preset

FILE = "forge-api.json"
PLACE = "merge it into the JSON that you send to `/sdapi/v1/txt2img` or `img2img` of Forge"
TITLE = "FreeU Integrated (SD 1.x, SD 2.x, SDXL)"


def render(preset: Preset) -> str:
    """JSON with `alwayson_scripts`. Raises PresetError: Forge can't hold these factors."""
    return merge(preset, "")


def merge(preset: Preset, text: str) -> str:
    """A request with the arguments of Forge's FreeU in it."""
    args = [True, *forge.row(preset)[1:]]
    return jsons.written(jsons.with_script(jsons.existing(text, "request of Forge"), TITLE, args))


def parse(text: str) -> dict[str, Preset]:
    """The factors of a request's arguments, also where they are switched off."""
    scripts = jsons.mapping(text).get("alwayson_scripts")
    script = (
        {key.lower(): value for key, value in scripts.items()}.get(TITLE.lower()) if isinstance(scripts, dict) else None
    )
    args = script.get("args") if isinstance(script, dict) else None
    return {"": forge.read(args[1:])} if isinstance(args, list) and len(args) == 7 else {}
